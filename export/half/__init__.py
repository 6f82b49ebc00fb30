"""Half-precision graphs: which parts stay in float32, found by running them."""
