"""Makes the inputs of requests of the rows of the logs, each at its moment, by what makes the examples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.clock import with_precision
from ingest.duplicates import without_digests, without_duplicates
from ingest.examples import ExampleBuilder, Lookup
from ingest.rank_request import NO_ITEM, column_values, impressions
from ingest.raw import RawBatch
from ingest.rows import columns_of, parse, read_source
from ingest.sources import SourceFile
from ingest.statistics.answers import Definition, RowSums, asks_of, definitions
from ingest.statistics.fold import Fold
from ingest.statistics.keys import KeyColumns
from ingest.statistics.requests import START, request_times, with_start
from ingest.statistics.sums import scales
from ingest.statistics.vectors import Vectors, as_float32
from ingest.timeline import join
from ingest.windows.rolling import DAY, lookup_by_day, with_day
from ingest.windows.window import files_to_read, times_of
from pipeline.online.consistency.records import Served
from pipeline.online.plan import days_of
from pipeline.online.user_rows import last_features, rows_until
from schema.columns import ITEM_ID, model_columns
from schema.served import rank_inputs
from schema.spec import RankingSpec
from serving.requests import encode

# A table as of a day (since 1970-01-01).
ByDay = Callable[[int], Lookup]


@dataclass(frozen=True)
class Logs:
    """The rows of the logs, as ingest types them.

    Attributes:
      spec: with the precision of the logs' times.
      log: each row with the day of its folder, or where there are none of its time.
      users, items: the tables of a day, the latest that isn't after it.
      last_day: the last day that there are rows of.
    """

    spec: RankingSpec
    log: pa.Table
    users: ByDay
    items: ByDay
    last_day: int

    @classmethod
    def read(cls, spec: RankingSpec, logs: str, window: str | None = None) -> Self:
        """Reads the logs of a folder as a run does; what can't be used is left out.

        Args:
          window: the days to read of logs in daily folders; by default all.

        Raises:
          IngestError: a file is missing, or can't be read.
        """
        files = files_to_read(spec, logs, window)
        spec = with_precision(spec, files)
        tables = {source: _rows(spec, source, files) for source in ("log", "users", "items")}
        log, _ = without_duplicates(tables["log"].combine_chunks())
        log = without_digests(log)
        if DAY not in log.column_names:
            log = log.append_column(DAY, pa.array(days_of(spec, log["time"].to_numpy())))
        last_day = int(log[DAY].to_numpy().max()) if log.num_rows else -1
        users, items = (_until_day(spec, source, tables[source]) for source in ("users", "items"))
        return cls(spec, with_start(spec, log), users, items, last_day)

    def day_of(self, served: Served) -> int:
        """Returns the day of a request's moment."""
        return int(days_of(self.spec, np.array([self.moment_of(served)]))[0])

    def moment_of(self, served: Served) -> int:
        """Returns a request's moment in ticks of these logs."""
        return served.origin.moment * self.spec.log.timestamp.ticks_per_second // served.origin.ticks_per_second

    def only(self, rows: np.ndarray) -> Self:
        """Returns the same with some rows of the log: those where bool `rows` holds, or whose places `rows` are."""
        places = np.flatnonzero(rows) if rows.dtype == bool else rows
        return replace(self, log=self.log.take(pa.array(places)).combine_chunks())

    def with_tables_of(self, day: int) -> Self:
        """Returns the same, where no table is later than a day."""
        users, items = self.users, self.items
        return replace(self, users=lambda day_: users(min(day_, day)), items=lambda day_: items(min(day_, day)))


def _rows(spec: RankingSpec, source: str, files: Sequence[SourceFile]) -> pa.Table:
    if source != "log" and getattr(spec, source) is None:
        return pa.table({})
    chosen = [file for file in files if file.source == source]
    tables = [
        with_day(parse(spec, source, batch, times_of(spec, file))[0], file)
        for file in chosen
        for batch in read_source(spec, file)
    ]
    if tables:
        return pa.concat_tables(tables)
    empty = {name: pa.array([], pa.string()) for name in columns_of(spec, source)}
    return parse(spec, source, RawBatch("", np.zeros(0, np.int64), empty))[0]


def _until_day(spec: RankingSpec, source: str, table: pa.Table) -> ByDay:
    lookup = lookup_by_day(spec, source, table if table.num_rows else None)
    if DAY not in table.column_names:
        return lookup
    days: np.ndarray = np.unique(table[DAY].to_numpy())
    return lambda day: lookup(int(days[max(int(np.searchsorted(days, day, side="right")) - 1, 0)]))


@dataclass(frozen=True)
class _Counted:
    """What all rows add to a statistic: the keys' texts, and the running sums of their tiles."""

    texts: pa.Array
    fold: Fold


class Rebuilder:
    """Makes requests of the rows of logs; what the statistics count is counted once for all requests."""

    def __init__(self, logs: Logs):
        self.logs, self.spec = logs, logs.spec
        self._definitions = definitions(self.spec)
        self._counted: dict[str, _Counted] = {}
        schema = logs.log.schema.remove(logs.log.schema.get_field_index(DAY))
        self._asking = schema.remove(schema.get_field_index(START)) if START in schema.names else schema

    def rows_of(self, served: Served) -> pa.Table:
        """Returns the rows of a request's user up to its moment, in the order of the logs."""
        start, stop = self._places.get(served.user, (0, 0))
        return rows_until(self.logs.log.take(self._order[start:stop]), self.logs.moment_of(served))

    def inputs_of(self, served: Served, rows: pa.Table | None = None) -> dict[str, np.ndarray]:
        """Returns the inputs of `rank`, as the logs tell them.

        Args:
          rows: in place of the user's; the statistics count what they count.
        """
        spec, moment, day = self.spec, self.logs.moment_of(served), self.logs.day_of(served)
        rows = (self.rows_of(served) if rows is None else rows).drop_columns([DAY])
        values: Mapping[str, object] = last_features(rows)
        values = {**values, **{f"feature:{name}": value for name, value in served.context.items()}}
        asking = impressions(self._asking, [served.user], [served.items or [NO_ITEM]], moment, [values])
        asking = with_start(spec, asking).select(rows.column_names)
        table = pa.concat_tables([rows, asking]).combine_chunks()
        users, items = self.logs.users(day), self.logs.items(day)
        vectors = self._vectors(table, asking, users, items)
        timelines = join(spec, table)
        (which,) = np.flatnonzero(timelines.source[timelines.impressions] == rows.num_rows)
        built = ExampleBuilder(spec, table, timelines, users, items)(np.array([which]))
        ids = pa.array(served.items, pa.string())
        candidates: dict[str, Any] = {ITEM_ID: ids, **items.at(ids)}
        sides: dict[str, Any] = {}
        for column in model_columns(spec):
            if column.name in vectors:
                of_rows = vectors[column.name].take(np.arange(len(asking)))
                sides[column.name] = of_rows[0] if column.side == "user" else of_rows[: len(ids)]
            elif column.side == "user":
                sides[column.name] = column_values(column, built[column.name])[0]
            else:
                sides[column.name] = column_values(column, candidates[column.name])
        return {tensor.name: encode(tensor, sides[tensor.name]) for tensor in rank_inputs(spec)}

    def _vectors(self, table: pa.Table, asking: pa.Table, users: Lookup, items: Lookup) -> dict[str, Vectors]:
        """Returns the vectors of the rows that ask, the last ones of the user's `table`."""
        if not self._definitions:
            return {}
        request_time = request_times(self.spec, table)[-len(asking) :]
        keys, result = KeyColumns(self.spec, asking, lambda _: users, lambda _: items), {}
        for definition in self._definitions:
            counted, of_rows = self._count(definition), keys.of(definition.statistic.keys)
            code = pc.fill_null(pc.index_in(of_rows.texts, value_set=counted.texts), len(counted.texts)).to_numpy()
            code = np.append(code.astype(np.int64), -1)[of_rows.code]
            asks = asks_of(code, definition.edge(request_time), np.ones(len(code), bool))
            answers = counted.fold.at(asks.key, asks.edge)
            sums = as_float32(answers, scales(definition.sums))
            result[definition.statistic.column] = Vectors(
                sums, answers.latest, asks.place, request_time, definition.ticks_per_second
            )
        return result

    def _count(self, definition: Definition) -> _Counted:
        name = definition.statistic.name
        if name not in self._counted:
            keys, time = self._keys.of(definition.statistic.keys), self.logs.log["time"].to_numpy()
            tiles = definition.tiles(keys.code, time, self._sums.of(definition.sums))
            self._counted[name] = _Counted(keys.texts, Fold(tiles, definition.spans))
        return self._counted[name]

    @cached_property
    def _keys(self) -> KeyColumns:
        return KeyColumns(self.spec, self.logs.log, self.logs.users, self.logs.items)

    @cached_property
    def _sums(self) -> RowSums:
        return RowSums(self.spec, self.logs.log)

    @cached_property
    def _user_codes(self) -> tuple[list[str], np.ndarray]:
        encoded = self.logs.log["user"].combine_chunks().dictionary_encode()
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        return encoded.dictionary.to_pylist(), encoded.indices.to_numpy()

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self._user_codes[1], kind="stable")

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        """Returns where each user's rows start and stop in `_order`."""
        users, codes = self._user_codes
        edges = np.concatenate(([0], np.cumsum(np.bincount(codes, minlength=len(users))))).tolist()
        return {user: (edges[index], edges[index + 1]) for index, user in enumerate(users)}
