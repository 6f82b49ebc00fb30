"""The one error of the exporter; imports nothing, so that the command line can name it early."""


class ExportError(RuntimeError):
    """A model cannot be written: says what, which value, what was expected and what to do."""
