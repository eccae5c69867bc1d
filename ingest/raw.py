"""What every reader of files makes of them: batches of the columns to read as they stand, and the unreadable rows.

Rows are counted from 1, and the header of a CSV file is row 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ingest.errors import IngestError

# What stands between the values of a cell of text, by column, where it may hold several; None where it holds a map.
Separators = Mapping[str, str | None]


def holds_maps(column: str, separators: Separators) -> bool:
    """Returns whether a column's cells are maps."""
    return column in separators and separators[column] is None


@dataclass(frozen=True)
class BadRow:
    """A row that ingest leaves out. `kind` is the reason without the value, by which rows are counted."""

    row: int
    kind: str
    reason: str
    text: str


@dataclass(frozen=True)
class RawBatch:
    """Some rows of one file. `columns` has each column to read as Arrow text, binary or typed array, null = missing.

    `absent` has the columns that the file lacks, with a sentence that says so; they are missing in all rows. `share` is
    how much of the file had been read when the batch was made, roughly.
    """

    file: str
    rows: np.ndarray  # int64
    columns: dict[str, pa.Array]
    bad: list[BadRow] = field(default_factory=list)
    absent: Mapping[str, str] = field(default_factory=dict)
    share: float = 0.0


def require(name: str, header: list[str], columns: Mapping[str, str], hint: str = "") -> dict[str, str]:
    """Returns the columns that a file with this `header` lacks, with a sentence each.

    Raises:
      IngestError: the file has one of them twice.
    """
    absent = {}
    for column, reason in columns.items():
        if column not in header:
            names = f"its columns are {header}" + hint
            absent[column] = f"{name}: has no column {column!r}, which {reason} needs; {names}"
        if header.count(column) > 1:
            raise IngestError(f"{name}: has {header.count(column)} columns named {column!r}, expected one")
    return absent
