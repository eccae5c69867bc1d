"""A local stand-in for TensorFlow Serving, for trying things out and for CI. Frozen: it imitates, it does not grow."""
