"""SAM 2.1: Meta's weights to the five networks of the engine contract."""
