"""Checks a file of served requests against logs: the counts of each column, its first difference, and why."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.online.consistency.comparison import Counts, Difference, Part, compare, parts_of
from pipeline.online.consistency.reasons import Explainer, Reason
from pipeline.online.consistency.rebuild import Logs, Rebuilder
from pipeline.online.consistency.records import RecordError, Served, read_requests
from schema.served import rank_inputs
from schema.spec import RankingSpec


@dataclass(frozen=True)
class FirstDifference:
    """The first value of a column that differs, in words.

    Attributes:
      line: of the request in the file.
      item: the candidate; None where the value is the user's.
    """

    line: int
    user: str
    item: str | None
    time: str
    outcome: str
    served: str
    rebuilt: str
    reason: Reason


@dataclass
class Row:
    """What was found of a column, or of a slot of a statistic."""

    part: Part
    counts: Counts = field(default_factory=Counts)
    first: FirstDifference | None = None

    @property
    def share(self) -> float:
        """Returns the share of values that aren't equal."""
        return self.counts.different / self.counts.total if self.counts.total else 0.0


@dataclass(frozen=True)
class Consistency:
    """What was found of all columns.

    Attributes:
      requests: that were compared.
      too_new: requests of days that the logs don't have yet.
      unreadable: the first line that is no request, and how many there are.
    """

    rows: tuple[Row, ...]
    requests: int
    too_new: int
    unreadable: tuple[int, str]

    def beyond(self, tolerance: float) -> list[Row]:
        """Returns the columns of which a larger share differs."""
        return [row for row in self.rows if row.share > tolerance]

    def as_json(self, tolerance: float) -> dict[str, Any]:
        """Returns all of it in JSON's types."""
        return {
            "requests": self.requests,
            "too_new": self.too_new,
            "unreadable": self.unreadable[0],
            "tolerance": tolerance,
            "ok": not self.beyond(tolerance),
            "columns": [
                {"name": row.part.name, **row.counts.counts, "first": None if row.first is None else _json(row.first)}
                for row in self.rows
            ],
        }


def check_consistency(
    spec: RankingSpec,
    logs: str,
    requests: Path,
    window: str | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Consistency:
    """Compares the requests of a file with what the logs tell of them.

    Args:
      window: the days to read of logs in daily folders; by default all.
      progress: called with the number of requests done.

    Raises:
      IngestError: the logs can't be used.
      OSError: the file can't be read.
    """
    rebuilder = Rebuilder(Logs.read(spec, logs, window))
    explainer = Explainer(rebuilder)
    rows = tuple(Row(part) for part in parts_of(spec))
    done, too_new, unreadable, first_error = 0, 0, 0, ""
    tensors = {tensor.name: tensor for tensor in rank_inputs(spec)}
    for served in read_requests(rebuilder.spec, tensors, requests):
        if isinstance(served, RecordError):
            unreadable, first_error = unreadable + 1, first_error or str(served)
        elif rebuilder.logs.day_of(served) > rebuilder.logs.last_day:
            too_new += 1
        else:
            _add(rows, served, rebuilder, explainer)
            done += 1
            progress(done)
    return Consistency(rows, done, too_new, (unreadable, first_error))


def _add(rows: tuple[Row, ...], served: Served, rebuilder: Rebuilder, explainer: Explainer) -> None:
    rebuilt = rebuilder.inputs_of(served)
    for row in rows:
        name = row.part.column.name
        if name in served.inputs:
            difference = compare(row.part, served.inputs[name], rebuilt[name], row.counts)
            if difference is not None and row.first is None:
                row.first = _first(served, difference, explainer.explain(served, difference, rebuilt))


def _first(served: Served, difference: Difference, reason: Reason) -> FirstDifference:
    seconds = served.origin.moment / served.origin.ticks_per_second
    return FirstDifference(
        served.line,
        served.user,
        None if difference.place is None else served.items[difference.place],
        datetime.fromtimestamp(seconds, UTC).isoformat(),
        difference.outcome,
        _shown(difference.served),
        _shown(difference.rebuilt),
        reason,
    )


def _shown(values: np.ndarray) -> str:
    """Returns values as a reader wants them: a few, the newest."""
    texts = [value.decode() if isinstance(value, bytes) else f"{value:.9g}" for value in values[-5:].tolist()]
    return ", ".join((["…"] if len(values) > 5 else []) + texts) or "nothing"


def _json(first: FirstDifference) -> dict[str, Any]:
    return {**vars(first), "reason": first.reason.name, "detail": first.reason.detail}
