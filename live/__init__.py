"""The live program: capture, tracking, pictures for the outputs."""
