"""From raw interaction logs to point-in-time tf.Examples, on Beam."""
