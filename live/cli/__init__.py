"""The program: command line, plan of a run, doctor, opening and running it."""

from samcam.live.cli.command_line import run_command_line

__all__ = ["run_command_line"]
