"""What an object's past looks like: a bounded bank of memories and the policies that fill it."""
