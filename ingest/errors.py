"""What ingest tells people when it can't go on."""


class IngestError(ValueError):
    """Logs that can't become examples, or examples that can't be written; the message is meant for a person."""
