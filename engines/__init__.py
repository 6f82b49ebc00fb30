"""The networks: backends that run them, the table of their inputs and outputs, model folders."""
