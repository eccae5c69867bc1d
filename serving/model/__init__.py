"""One version of a model, loaded as TensorFlow Serving would, and how to run it."""
