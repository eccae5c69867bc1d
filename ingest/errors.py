"""What ingest tells people when it can't go on."""


class IngestError(ValueError):
    """Logs that can't become examples, or examples that can't be written; the message is meant for a person."""


class LostRowsError(IngestError):
    """Beam's runner has lost some of what its workers handed on; the message says what is missing."""
