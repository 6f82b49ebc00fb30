"""Whether a mask is the object: what it looks like, where it was lost, whose it could be."""
