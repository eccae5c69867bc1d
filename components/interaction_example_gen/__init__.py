"""InteractionExampleGen: raw interaction logs -> point-in-time tf.Examples, on Beam."""
