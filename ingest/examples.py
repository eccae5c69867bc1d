"""Timelines -> the columns of examples, as `schema.columns.example_columns` names them."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.kinds import reader_of
from ingest.statistics.requests import request_times
from ingest.statistics.vectors import Vectors
from ingest.timeline import Timelines
from ingest.times import derived
from schema.columns import (
    ITEM_ID,
    REQUEST_START,
    TIMESTAMP,
    USER_ID,
    ExampleColumn,
    example_columns,
    label_name,
    space_name,
)
from schema.spec import Feature, RankingSpec


@dataclass(frozen=True)
class Lookup:
    """A users or items table, ready to be joined by key; its last row stands for keys that it doesn't have."""

    keys: pa.Array
    features: dict[str, pa.Array]

    @classmethod
    def of(cls, spec: RankingSpec, source: str, table: pa.Table | None) -> "Lookup":
        """Returns the lookup of a parsed table, in which later rows of a key win; None is an empty table."""
        if table is None or table.num_rows == 0:
            values = {feature.name: _filled(feature, []) for feature in spec.features_of(source)}
            return cls(pa.array([], pa.string()), values)
        # `index_in` finds the first of equal keys: the newest row goes first.
        table = table.combine_chunks().take(np.arange(table.num_rows)[::-1])
        values = {}
        for feature in spec.features_of(source):
            values[feature.name] = _filled(feature, [_array(table[f"feature:{feature.name}"])])
        return cls(_array(table["key"]), values)

    def at(self, keys: pa.Array) -> dict[str, pa.Array]:
        """Returns each feature's value for each key."""
        rows = self.rows_of(keys)
        return {name: values.take(rows) for name, values in self.features.items()}

    def rows_of(self, keys: pa.Array) -> pa.Array:
        """Returns the row of each key in `features`."""
        if len(self.keys):
            return pc.fill_null(pc.index_in(keys, value_set=self.keys), len(self.keys))
        return pa.array(np.zeros(len(keys), np.int32))


def _filled(feature: Feature, values: list[pa.Array]) -> pa.Array:
    """Returns a feature's typed values, and after them a missing one, as examples hold them."""
    reader = reader_of(feature)
    return reader.fill(feature, pa.concat_arrays([*values, pa.nulls(1, reader.type(feature))]))


class ExampleBuilder:
    """Makes the examples of any of a bucket's impressions, a slice at a time.

    `text` is applied to the distinct texts, before they are repeated in the examples' columns. Without `statistics`
    (by column, for the rows of `rows`) the examples have no column of these. `columns` are the spec's, or those of them
    that are needed; `requests` are the rows' request times, for whom has them already.
    """

    def __init__(
        self,
        spec: RankingSpec,
        rows: pa.Table,
        timelines: Timelines,
        users: Lookup | None = None,
        items: Lookup | None = None,
        text: Callable[[pa.Array], pa.Array] = lambda texts: texts,
        statistics: Mapping[str, Vectors] | None = None,
        columns: tuple[ExampleColumn, ...] | None = None,
        requests: np.ndarray | None = None,
    ):
        self.statistics = statistics or {}
        self.columns = tuple(
            column
            for column in columns or example_columns(spec)
            if column.role != "statistic" or column.name in self.statistics
        )
        self._names = {column.name for column in self.columns}
        self.spec, self.timelines = spec, timelines
        self.users, self.items = text(timelines.users), text(timelines.items)
        self.small_numbers = text(pa.array([str(number) for number in range(24)]))
        features = [logged for logged in spec.features_of("log") if not logged.derive and logged.name in self._names]
        log = {
            feature.name: reader_of(feature).fill(feature, _array(rows[f"feature:{feature.name}"]))
            for feature in features
        }
        self.log = _texts_by(text, log)
        self.ticks = spec.log.timestamp.ticks_per_second
        self.per_example_tick = spec.log.timestamp.ticks_per_example_tick
        self.requests = request_times(spec, rows) if requests is None else requests
        self._text = text
        self._tables(users or Lookup.of(spec, "users", None), items or Lookup.of(spec, "items", None))

    def _tables(self, users: Lookup, items: Lookup) -> None:
        self.by_user = _texts_by(self._text, users.at(self.timelines.users))
        self.by_item = _texts_by(self._text, items.at(self.timelines.items))

    def with_tables(self, users: Lookup, items: Lookup) -> "ExampleBuilder":
        """Returns the same rows beside these tables."""
        builder = copy.copy(self)
        builder._tables(users, items)
        return builder

    def positions(self) -> np.ndarray:
        """Returns how many sequence positions each impression has, over all behaviours: what a slice costs."""
        total = np.zeros(len(self.timelines.impressions), np.int64)
        for sequence in self.timelines.sequences.values():
            total += sequence.stop - sequence.start
        return total

    def __call__(self, which: np.ndarray, with_behaviours: bool = True) -> dict[str, pa.Array]:
        """Returns the columns of the impressions `which` (indices into `timelines.impressions`), by name.

        Args:
          with_behaviours: whether the behaviours' columns are among them.
        """
        lines = self.timelines
        rows = lines.impressions[which]
        time = lines.time[rows]
        values: dict[str, pa.Array] = {
            USER_ID: self.users.take(pa.array(lines.user[rows])),
            ITEM_ID: self.items.take(pa.array(lines.item[rows])),
            TIMESTAMP: pa.array(time // self.per_example_tick),
            REQUEST_START: pa.array(self.requests[lines.source[rows]] // self.per_example_tick),
        }
        for feature in self.spec.features:
            if feature.name in self._names:
                values[feature.name] = as_lists(self._feature(feature, rows, time))
        for behaviour in self.spec.behaviours if with_behaviours else ():
            edges, flat = self._sequence(behaviour.name, which)
            values.update({name: _by_edges(edges, positions) for name, positions in flat.items()})
        for name, vectors in self.statistics.items():
            values[name] = _lists(vectors.take(lines.source[rows]))
        for task in self.spec.tasks:
            if self._names.isdisjoint((label_name(task), space_name(task))):
                continue
            values[label_name(task)] = pa.array(lines.labels[task.name][which])
            space = lines.spaces[task.name][which].astype(np.float32)
            values[space_name(task)] = pa.array(space if lines.weights is None else space * lines.weights[which])
        columns = (column for column in self.columns if with_behaviours or column.behaviour is None)
        return {column.name: values[column.name] for column in columns}

    def _feature(self, feature: Feature, rows: np.ndarray, time: np.ndarray) -> pa.Array:
        if feature.source == "users":
            return self.by_user[feature.name].take(pa.array(self.timelines.user[rows]))
        if feature.source == "items":
            return self.by_item[feature.name].take(pa.array(self.timelines.item[rows]))
        if feature.derive:
            number = derived(feature, time, self.spec.log.timestamp)
            return self.small_numbers.take(pa.array(number))
        return self.log[feature.name].take(pa.array(self.timelines.source[rows]))

    def positions_of(self, impression: int) -> dict[str, pa.Array]:
        """Returns the behaviours' columns of one impression (an index as `__call__` takes), a value a position."""
        which = np.array([impression])
        values: dict[str, pa.Array] = {}
        for behaviour in self.spec.behaviours:
            values.update(self._sequence(behaviour.name, which)[1])
        return values

    def _sequence(self, name: str, which: np.ndarray) -> tuple[np.ndarray, dict[str, pa.Array]]:
        """Returns where each impression's positions of a behaviour begin and the last's end, and its columns.

        They are `<name>_item_id`, `<name>_age_s` (float32 seconds), and each item feature's.
        """
        sequence, time = self.timelines.sequences[name], self.timelines.time[self.timelines.impressions[which]]
        start, length = sequence.start[which], sequence.stop[which] - sequence.start[which]
        edges = np.concatenate(([0], np.cumsum(length)))
        places = np.arange(edges[-1]) + np.repeat(start - edges[:-1], length)
        rows = sequence.rows[places]
        items = pa.array(self.timelines.item[rows])
        age = (np.repeat(time, length) - self.timelines.time[rows]) / self.ticks
        flat = {
            f"{name}_{ITEM_ID}": self.items.take(items),
            f"{name}_age_s": pa.array(age.astype(np.float32)),
        }
        for column in self.columns:
            if column.behaviour == name and column.feature is not None:
                flat[column.name] = self.by_item[column.feature.name].take(items)
        return edges, flat


def _by_edges(edges: np.ndarray, values: pa.Array) -> pa.ListArray:
    """Returns the lists that end at `edges`; of vectors their numbers, one vector after the other."""
    if pa.types.is_fixed_size_list(values.type):
        edges, values = edges * values.type.list_size, values.flatten()
    return pa.ListArray.from_arrays(pa.array(edges, pa.int32()), values)


def as_lists(values: pa.Array) -> pa.Array:
    """Returns vectors as lists, the values of an example; others stay."""
    return _by_edges(np.arange(len(values) + 1), values) if pa.types.is_fixed_size_list(values.type) else values


def _lists(vectors: np.ndarray) -> pa.ListArray:
    count, width = vectors.shape
    return pa.ListArray.from_arrays(pa.array(np.arange(count + 1) * width, pa.int32()), pa.array(vectors.reshape(-1)))


def _texts_by(text: Callable[[pa.Array], pa.Array], features: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """Returns the features, `text` applied to what is text in them."""
    result = {}
    for name, values in features.items():
        if pa.types.is_list(values.type):
            result[name] = pa.ListArray.from_arrays(values.offsets, text(values.values))
        else:
            result[name] = text(values) if pa.types.is_string(values.type) else values
    return result


def slices(
    chosen: np.ndarray, positions: Iterable[int] | np.ndarray, rows: int = 16_384, most: int = 400_000
) -> Iterator[np.ndarray]:
    """Yields `chosen` in pieces of at most `rows` impressions and, but for a single one, `most` positions."""
    cost = np.cumsum(np.asarray(positions)[chosen])
    start = 0
    while start < len(chosen):
        paid = cost[start - 1] if start else 0
        stop = int(np.searchsorted(cost, paid + most, side="right"))
        stop = min(max(stop, start + 1), start + rows, len(chosen))
        yield chosen[start:stop]
        start = stop


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays([pa.array([], column.type), *column.chunks])
