"""Nothing is collected: imported before ONNX Runtime, by the contents page of `engines`."""

import os

# ONNX Runtime reads it while it is imported, and would otherwise keep a device's number and a
# database of events in the home folder, to send them; disable_telemetry_events() comes too late.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
