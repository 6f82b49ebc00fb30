"""The day with an NVIDIA GPU: everything that no machine without one can show, in one program."""
