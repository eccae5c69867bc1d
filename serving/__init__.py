"""Clients of a model server, the model itself, a local server, and TensorFlow Serving's configuration."""
