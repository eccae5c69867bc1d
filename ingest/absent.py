"""Columns that some files of a source lack: missing in those, and a mistake where all files lack them."""

from dataclasses import dataclass, field

from ingest.raw import RawBatch


@dataclass
class AbsentColumns:
    """Which files of a source lack which of the columns to read, among those with rows."""

    files: set[str] = field(default_factory=set)
    lacking: dict[str, set[str]] = field(default_factory=dict)
    sentences: dict[str, str] = field(default_factory=dict)

    def add(self, batch: RawBatch) -> None:
        """Notes the columns that a batch's file lacks."""
        if len(batch.rows) or batch.bad or batch.absent:
            self.files.add(batch.file)
        for column, sentence in batch.absent.items():
            self.lacking.setdefault(column, set()).add(batch.file)
            self.sentences[column] = min(self.sentences.get(column, sentence), sentence)

    @property
    def everywhere(self) -> list[str]:
        """Returns the sentences of the columns that no file has."""
        return [self.sentences[column] for column, files in self.lacking.items() if len(files) == len(self.files)]

    @property
    def somewhere(self) -> dict[str, int]:
        """Returns how many files lack a column that others have."""
        return {column: len(files) for column, files in self.lacking.items() if len(files) < len(self.files)}
