"""InteractionExampleGen: raw interaction logs -> point-in-time tf.Examples, on Beam."""

from components.interaction_example_gen.errors import IngestError
from components.interaction_example_gen.files import fingerprint, match_files

__all__ = ["IngestError", "fingerprint", "match_files"]
