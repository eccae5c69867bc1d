"""The values of a generation: of a bucket of users, of items, and of a bucket of a statistic's keys."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest.chunks import Chunk, bucket_of, unpacked
from ingest.duplicates import refused
from ingest.errors import IngestError
from ingest.examples import Lookup
from ingest.rows_once import without_repeats
from ingest.statistics.answers import Definition
from ingest.statistics.bucket import BucketRows, BucketStatistics, KnownTiles, state_part
from ingest.statistics.encoding import common_codes, split_tiles, tiles_of_table
from ingest.statistics.graph import key_buckets
from ingest.windows.rolling import DAY, Rolling, lookup_by_day
from ingest.windows.window import day_number
from pipeline.online.packing import Packing, bytes_of
from pipeline.online.plan import Plan, with_days
from pipeline.online.values import Layout, filled_texts, keys_of_users, records_of, state_columns

# A key and what its value holds.
Content = tuple[str, bytes]


@dataclass(frozen=True)
class Bucket:
    """What a bucket of users gives.

    Attributes:
      users: content by user.
      tiles: what its rows add to shared statistics: (number of the key bucket, Arrow IPC stream).
      rows: the snapshot's share of the carried rows, None where there are none.
      states: by the number of a statistic by user, its snapshot's share.
    """

    users: list[Content]
    tiles: list[tuple[int, bytes]]
    rows: bytes | None
    states: dict[int, bytes]


def bucket_values(
    plan: Plan,
    layout: Layout,
    chunks: dict[str, list[Chunk]],
    items: Callable[[int], Lookup],
    buckets: int,
    last_features: Callable[[list[str]], dict[str, pa.Table]],
) -> Bucket:
    """Returns what a bucket's users are, and what they add.

    Args:
      items: the items table of a day.
      last_features: the last rows' features of users that have no row here, as far as an earlier generation has them.

    Raises:
      IngestError: a row stands in the logs twice, and the spec allows none.
    """
    spec, rolling = plan.spec, plan.rolling
    log = unpacked(chunks.get("log", []))
    if log is not None and not plan.is_daily:
        log = _before(rolling, with_days(plan, log))
    history = unpacked(chunks.get("history", []))
    if log is not None:
        log, equal_rows = without_repeats(log, history, rolling)
        if equal_rows and spec.log.duplicates == "error":
            raise IngestError(refused(len(equal_rows), equal_rows[0]))
    table = unpacked(chunks.get("users", []))
    users = lookup_by_day(spec, "users", table)
    here = BucketRows.of(spec, log, history, rolling)
    rows = rolling.part(spec, here.rows) if here.rows is not None else None
    statistics = BucketStatistics(spec, here, users, items, rolling) if here.log is not None else None
    states: dict[int, bytes] = {}
    tiles: list[tuple[int, bytes]] = []
    for number, definition in enumerate(layout.definitions):
        if definition.statistic.by_user:
            state = unpacked(chunk for chunk in chunks.get("state", []) if chunk[1] == number)
            known_tiles = KnownTiles.of(number, definition, statistics, state)
            part = state_part(spec, number, definition, known_tiles.early, known_tiles.texts, rolling)
            if part is not None:
                states[number] = part
        elif statistics is not None:
            tiles += _shared_tiles(number, definition, statistics, key_buckets(buckets))
    last_day = users(day_number(rolling.window.last))
    return Bucket(_user_values(layout, rows, log, last_day, states, last_features), tiles, rows, states)


def _before(rolling: Rolling, rows: pa.Table) -> pa.Table:
    """Returns rows of logs without daily folders as of days before the snapshot's: all of them go in."""
    days = np.minimum(rows[DAY].to_numpy(), day_number(rolling.snapshot.day) - 1)
    return rows.set_column(rows.column_names.index(DAY), DAY, pa.array(days.astype(np.int32)))


def _shared_tiles(
    number: int, definition: Definition, statistics: BucketStatistics, buckets: int
) -> Iterator[tuple[int, bytes]]:
    texts = statistics.keys(definition).texts
    early, _ = statistics.tiles(number, definition)
    if early is not None and len(early):
        for bucket, data in split_tiles(early, texts, bucket_of(texts, buckets)).items():
            yield number * buckets + bucket, data


def _user_values(
    layout: Layout,
    rows_part: bytes | None,
    log: pa.Table | None,
    table: Lookup,
    states: dict[int, bytes],
    last_features: Callable[[list[str]], dict[str, pa.Table]],
) -> list[Content]:
    schema = layout.carried_schema
    rows = schema.empty_table() if rows_part is None else _read(rows_part).select(schema.names)
    whose: list[pa.Array] = [_text(rows["user"]), table.keys]
    whose += [_text(log["user"])] if log is not None else []
    by_user: list[tuple[pa.Array, pa.Table]] = []
    for definition, number, packing in zip(layout.by_user, _by_user(layout), layout.statistics, strict=True):
        users, state = pa.array([], pa.string()), packing.schema.empty_table()
        if number in states:
            users, state = keys_of_users(definition, state_columns(definition, _read(states[number])))
        whose.append(users)
        by_user.append((users, state))
    ids = pc.unique(pa.concat_arrays([pa.array([], pa.string()), *whose]))
    columns = [_grouped(layout.rows, ids, _text(rows["user"]), filled_texts(rows))]
    columns.append(_last_rows(layout, ids, log, last_features))
    columns.append(_table_features(layout, ids, table))
    for packing, (users, state) in zip(layout.statistics, by_user, strict=True):
        columns.append(_grouped(packing, ids, users, state))
    return [(user, b"".join(parts)) for user, *parts in zip(ids.to_pylist(), *columns, strict=True)]


def _by_user(layout: Layout) -> list[int]:
    return [number for number, definition in enumerate(layout.definitions) if definition.statistic.by_user]


def _read(part: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(part))


def _text(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays([pa.array([], pa.string()), *column.chunks])


def _grouped(packing: Packing, ids: pa.Array, whose: pa.Array, rows: pa.Table) -> list[bytes]:
    """Returns the rows of each id, in their order."""
    if not len(packing.schema):
        return packing.pack(rows, np.zeros(2, np.int64)) * len(ids)
    code = pc.index_in(whose, value_set=ids).to_numpy(zero_copy_only=False).astype(np.int64)
    order = np.argsort(code, kind="stable")
    edges = np.searchsorted(code[order], np.arange(len(ids) + 1))
    return packing.pack(rows.take(pa.array(order)).combine_chunks(), edges)


def _last_rows(
    layout: Layout, ids: pa.Array, log: pa.Table | None, last_features: Callable[[list[str]], dict[str, pa.Table]]
) -> list[bytes]:
    """Returns the features from the log of each id's latest row, of equally late ones of the last."""
    schema = layout.last.schema
    users, features = pa.array([], pa.string()), schema.empty_table()
    if log is not None and log.num_rows and len(schema):
        code = pc.index_in(_text(log["user"]), value_set=ids).to_numpy(zero_copy_only=False)
        order = np.lexsort((log["time"].to_numpy(), code))
        last = np.ones(len(order), bool)
        last[:-1] = code[order[1:]] != code[order[:-1]]
        rows = pa.array(order[last])
        users, features = _text(log["user"].take(rows)), filled_texts(log.select(schema.names).take(rows))
    absent = ids.filter(pc.invert(pc.is_in(ids, value_set=users))).to_pylist()
    earlier = last_features(absent) if absent and len(schema) else {}
    if earlier:
        users = pa.concat_arrays([users, pa.array(list(earlier), pa.string())])
        features = pa.concat_tables([features, *earlier.values()])
    return _grouped(layout.last, ids, users, features)


def _table_features(layout: Layout, ids: pa.Array, table: Lookup) -> list[bytes]:
    packing = layout.features["users"]
    present = ids.filter(pc.is_in(ids, value_set=table.keys))
    features = pa.table({f"feature:{name}": values for name, values in table.at(present).items()}, packing.schema)
    return _grouped(packing, ids, present, features)


def item_values(layout: Layout, table: Lookup) -> Iterator[list[Content]]:
    """Yields the items' features, some items at a time."""
    packing, keys = layout.features["items"], pc.unique(table.keys)
    for start in range(0, len(keys), 10_000):
        some = keys.slice(start, 10_000)
        features = pa.table({f"feature:{name}": values for name, values in table.at(some).items()}, packing.schema)
        yield list(zip(some.to_pylist(), packing.pack(features, np.arange(len(some) + 1)), strict=True))


def key_values(
    plan: Plan, layout: Layout, number: int, states: Iterable[bytes], early: Iterable[bytes]
) -> tuple[list[Content], bytes | None]:
    """Returns the folded state of a bucket of a shared statistic's keys, and the snapshot's share.

    Args:
      states: what earlier days have carried on, as Arrow IPC streams.
      early: the tiles of the days since.
    """
    definition = layout.definitions[number]
    tables = [pa.ipc.open_stream(data).read_all() for data in [*states, *early]]
    texts, codes = common_codes([table["key"] for table in tables])
    windows = bool(definition.statistic.windows)
    tiles = [tiles_of_table(table, code, windows) for table, code in zip(tables, codes, strict=True)]
    part = state_part(plan.spec, number, definition, tiles, texts, plan.rolling)
    if part is None:
        return [], None
    table = state_columns(definition, _read(part))
    keys = _text(table["key"])
    # A state is sorted by its keys' texts.
    encoded = keys.dictionary_encode()
    code = encoded.indices.to_numpy()
    edges = np.searchsorted(code, np.arange(len(encoded.dictionary) + 1))
    dtype = layout.state_types[definition.statistic.name]
    records = records_of(tiles_of_table(table, code.astype(np.int64), windows), dtype)
    data, places = bytes_of(records), (edges * dtype.itemsize).tolist()
    names = encoded.dictionary.to_pylist()
    return [(name, bytes(data[start:stop])) for name, (start, stop) in zip(names, pairwise(places), strict=True)], part
