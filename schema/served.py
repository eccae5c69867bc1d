"""Where a saved model keeps the ranking spec that it was trained by."""

from pathlib import PurePosixPath

# Below the SavedModel's folder.
SPEC_FILE = PurePosixPath("assets.extra/ranking_spec.json")
