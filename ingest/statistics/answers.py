"""Statistics of rows in memory: what each row asks, and the answers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ingest.examples import Lookup
from ingest.rows import events_of
from ingest.statistics.fold import Fold, Spans
from ingest.statistics.keys import KeyColumns
from ingest.statistics.requests import request_times
from ingest.statistics.sums import row_sums, scales
from ingest.statistics.tiles import Tiles, sorted_groups, tiles_of
from ingest.statistics.vectors import Vectors, as_float32
from schema.spec import RankingSpec
from schema.statistics import Statistic, Sum, statistics_of, sums_of


@dataclass(frozen=True)
class Definition:
    """A statistic in ticks, and what it sums."""

    statistic: Statistic
    sums: tuple[Sum, ...]
    spans: Spans
    delay: int
    ticks_per_second: int

    @classmethod
    def of(cls, spec: RankingSpec, statistic: Statistic) -> "Definition":
        ticks, grain = spec.log.timestamp.ticks_per_second, statistic.granularity
        spans = Spans(
            grain * ticks,
            tuple(length * ticks for length in statistic.half_lives),
            tuple(length // grain for length in statistic.windows),
            statistic.lifetime,
            None if statistic.expire is None else statistic.expire // grain,
        )
        return cls(statistic, sums_of(spec, statistic), spans, statistic.delay * ticks, ticks)

    def tile(self, time: np.ndarray) -> np.ndarray:
        return time // self.spans.granularity

    def edge(self, time: np.ndarray) -> np.ndarray:
        """Returns the tile before which rows count at these times: all of them lie `delay` before, strictly."""
        return (time - self.delay) // self.spans.granularity

    def tiles(self, code: np.ndarray, time: np.ndarray, sums: np.ndarray) -> Tiles:
        """Returns the tiles of rows; those with a missing key (-1) don't count."""
        valid = code >= 0
        if not valid.all():
            code, time, sums = code[valid], time[valid], sums[valid]
        ages = time if self.statistic.age else None
        return tiles_of(code, self.tile(time), sums, ages, bool(self.statistic.windows))


def definitions(spec: RankingSpec) -> tuple[Definition, ...]:
    """Returns the definition of each statistic of the spec."""
    return tuple(Definition.of(spec, statistic) for statistic in statistics_of(spec))


def shared(spec: RankingSpec) -> list[tuple[int, Definition]]:
    """Returns the statistics that no bucket of users can answer alone, with their numbers."""
    return [
        (number, definition) for number, definition in enumerate(definitions(spec)) if not definition.statistic.by_user
    ]


@dataclass(frozen=True)
class Asks:
    """Distinct keys and edges, sorted by both; `place` is int64 [rows] each row's ask, -1 where it has none."""

    key: np.ndarray
    edge: np.ndarray
    place: np.ndarray


def asks_of(code: np.ndarray, edge: np.ndarray, asking: np.ndarray) -> Asks:
    """Returns what the rows ask where `asking` (bool [rows]) holds and the key isn't missing (-1)."""
    place = np.full(len(code), -1, np.int64)
    rows = np.flatnonzero(asking & (code >= 0))
    order, starts = sorted_groups(code[rows], edge[rows])
    number = np.zeros(len(rows), np.int64)
    number[starts] = 1
    place[rows[order]] = np.cumsum(number) - 1
    first = rows[order[starts]]
    return Asks(code[first], edge[first], place)


class RowSums:
    """What rows add to each sum, made when it is first asked for."""

    def __init__(self, spec: RankingSpec, rows: pa.Table):
        self._rows = rows
        self._events = events_of(spec) if spec.log.layout == "events" else ()
        self._made: dict[tuple[Sum, ...], np.ndarray] = {}

    def of(self, sums: tuple[Sum, ...]) -> np.ndarray:
        """Returns int64 [rows, sums]."""
        if sums not in self._made:
            self._made[sums] = row_sums(sums, self._rows, self._events)
        return self._made[sums]


def vectors_of(
    spec: RankingSpec, rows: pa.Table, users: Callable[[int], Lookup], items: Callable[[int], Lookup]
) -> dict[str, Vectors]:
    """Returns the vectors of each statistic by its column, where `rows` are all rows of the log.

    Args:
      rows: as `ingest.rows.parse` gives them.
      users, items: the tables of a day.
    """
    if spec.statistics is None:
        return {}
    keys, sums, time = KeyColumns(spec, rows, users, items), RowSums(spec, rows), rows["time"].to_numpy()
    request_time, result = request_times(spec, rows), {}
    for definition in definitions(spec):
        code = keys.of(definition.statistic.keys).code
        asks = asks_of(code, definition.edge(request_time), np.ones(len(code), bool))
        answers = Fold(definition.tiles(code, time, sums.of(definition.sums)), definition.spans).at(asks.key, asks.edge)
        values = as_float32(answers, scales(definition.sums))
        result[definition.statistic.column] = Vectors(
            values, answers.latest, asks.place, request_time, definition.ticks_per_second
        )
    return result
