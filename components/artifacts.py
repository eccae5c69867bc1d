"""The types of artifacts that Fulcrum's components add to TFX's, and how one says that it holds no model."""

from tfx.types.artifact import Artifact

# A component's output is one artifact always; this custom property says that the artifact holds no model.
NO_MODEL = "no_model"


class Quarantine(Artifact):
    """The rows that ingest left out, `rejected-…jsonl` (file, row, reason, text), and its counts, `summary.json`."""

    TYPE_NAME = "fulcrum.Quarantine"


class Report(Artifact):
    """A folder with `index.html`: one self-contained page."""

    TYPE_NAME = "fulcrum.EvaluationReport"
