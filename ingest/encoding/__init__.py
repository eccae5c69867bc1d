"""Columns as serialised tf.Examples, and these as TFRecords."""
