"""What SamCam needs of the system: commands, streams, signals, limits, the end of a process."""

from samcam.system.command_names import (
    checkout,
    exchange,
    exporter,
    install,
    program,
    reinstall,
    with_exporter,
)
from samcam.system.interrupts import Interrupted, Interrupts
from samcam.system.memory_limit import (
    MEMORY_EXIT_CODE,
    TO_LOAD_MIB,
    TO_RUN_MIB,
    limit_problem,
    memory_problem,
)
from samcam.system.process_end import run_to_the_end
from samcam.system.redact import hide_in_url, hide_secrets
from samcam.system.streams import finish_streams, prepare_streams
from samcam.system.terminal import complain, say
from samcam.system.version import VERSION

__all__ = [
    "MEMORY_EXIT_CODE",
    "TO_LOAD_MIB",
    "TO_RUN_MIB",
    "VERSION",
    "Interrupted",
    "Interrupts",
    "checkout",
    "complain",
    "exchange",
    "exporter",
    "finish_streams",
    "hide_in_url",
    "hide_secrets",
    "install",
    "limit_problem",
    "memory_problem",
    "prepare_streams",
    "program",
    "reinstall",
    "run_to_the_end",
    "say",
    "with_exporter",
]
