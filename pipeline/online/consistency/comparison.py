"""Compares served inputs with rebuilt ones, value by value: equal, missing, extra, or another value."""

from dataclasses import dataclass, field

import numpy as np

from schema.columns import MISSING, ExampleColumn, model_columns
from schema.spec import RankingSpec
from schema.statistics import AGE, slots, statistic_of

OUTCOMES = ("equal", "mismatch", "missing", "extra")


@dataclass(frozen=True)
class Part:
    """What is counted apart: a column, or of a statistic's column a slot.

    Attributes:
      slot: its place in the vector; None is a whole column.
      absent: the number that a slot has where nothing was counted.
    """

    name: str
    column: ExampleColumn
    slot: int | None = None
    absent: float = 0.0


@dataclass(frozen=True)
class Difference:
    """A value that was served and isn't what the logs tell.

    Attributes:
      place: of the candidate; None where the value is the user's.
      outcome: `missing` was not served and is in the logs, `extra` was served and isn't, `mismatch` is another value.
    """

    part: Part
    place: int | None
    outcome: str
    served: np.ndarray
    rebuilt: np.ndarray


@dataclass
class Counts:
    """How many values had each of the `OUTCOMES`."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def different(self) -> int:
        return self.total - self.counts["equal"]


def parts_of(spec: RankingSpec) -> tuple[Part, ...]:
    """Returns all that is compared: the columns that the model reads, statistics slot by slot."""
    parts: list[Part] = []
    for column in model_columns(spec):
        if column.role == "statistic":
            for index, slot in enumerate(slots(spec, statistic_of(spec, column.name))):
                parts.append(Part(slot.name, column, index, -1.0 if slot.span == AGE else 0.0))
        else:
            parts.append(Part(column.name, column))
    return tuple(parts)


def compare(part: Part, served: np.ndarray, rebuilt: np.ndarray, counts: Counts) -> Difference | None:
    """Counts the values of a request, one for the user or one a candidate, and returns the first that differs.

    Args:
      served, rebuilt: a column's inputs of `rank`.
    """
    ours, theirs = _cells(part, served), _cells(part, rebuilt)
    equal = _equal(part, ours, theirs)
    counts.counts["equal"] += int(equal.sum())
    different = np.flatnonzero(~equal)
    if not len(different):
        return None
    were, are = _absent(part, ours), _absent(part, theirs)
    outcome = np.where(were & ~are, "missing", np.where(~were & are, "extra", "mismatch"))
    for name in OUTCOMES[1:]:
        counts.counts[name] += int((outcome[different] == name).sum())
    first = int(different[0])
    place = first if part.column.side == "item" else None
    return Difference(part, place, str(outcome[first]), ours[first], theirs[first])


def is_equal(part: Part, served: np.ndarray, rebuilt: np.ndarray, place: int | None) -> bool:
    """Returns whether a candidate's value, or without `place` the user's, is the same."""
    row = slice(place or 0, (place or 0) + 1)
    ours, theirs = _cells(part, served)[row], _cells(part, rebuilt)[row]
    return ours.shape[0] == theirs.shape[0] and bool(_equal(part, ours, theirs).all())


def _cells(part: Part, values: np.ndarray) -> np.ndarray:
    """Returns `[rows, numbers]`: of the user one row, of the candidates one each."""
    rows = values[None] if part.column.side == "user" else values
    rows = rows if part.slot is None else rows[:, part.slot]
    return rows.reshape(len(rows), -1) if rows.size else np.empty((len(rows), 0), values.dtype)


def _equal(part: Part, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Returns bool [rows]: whether all is the same, numbers bit by bit, but that a missing one is a missing one."""
    if len(ours) != len(theirs):
        raise ValueError(f"{part.name}: {len(ours)} values were served, and there are {len(theirs)} candidates")
    if ours.shape[1] != theirs.shape[1]:
        if part.column.side == "user" or not part.column.ragged:
            return np.zeros(len(ours), bool)
        width = max(ours.shape[1], theirs.shape[1])
        ours, theirs = (_padded(part, rows, width) for rows in (ours, theirs))
    if ours.dtype.kind != "f":
        return (ours == theirs).all(axis=1).astype(bool)
    nan = np.isnan(ours) & np.isnan(theirs)
    bits = np.ascontiguousarray(ours).view(np.uint32) == np.ascontiguousarray(theirs).view(np.uint32)
    return (bits | nan).all(axis=1)


def _padded(part: Part, rows: np.ndarray, width: int) -> np.ndarray:
    padded = np.full((len(rows), width), part.column.padding, rows.dtype)
    padded[:, : rows.shape[1]] = rows
    return padded


def _absent(part: Part, rows: np.ndarray) -> np.ndarray:
    """Returns bool [rows]: whether there is nothing."""
    if part.slot is not None:
        return (np.isnan(rows) | (rows == part.absent)).all(axis=1)
    if rows.dtype.kind == "f":
        empty = part.column.ragged and part.column.side == "item"
        return (np.isnan(rows) | ((rows == part.column.padding) & empty)).all(axis=1)
    if rows.dtype.kind == "O":
        return ((rows == b"") | (rows == MISSING.encode())).all(axis=1).astype(bool)
    return np.full(len(rows), rows.shape[1] == 0)
