"""ServingValidator: loads a candidate model as TensorFlow Serving would, replays requests, and adds warm-up."""
