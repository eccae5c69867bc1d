"""A local stand-in for TensorFlow Serving, and the configuration of TensorFlow Serving itself."""
