"""Motion: a stateless box filter and the scores derived from it."""
