"""What the values of a store hold, and how they are told from others.

Each begins with the digest of its definition, where it comes from (its generation, or the day of a tail), the day up to
which it is complete, and a checksum of its key and content: none of these is taken from elsewhere.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.duplicates import without_digests
from ingest.kinds import reader_of
from ingest.raw import RawBatch
from ingest.rows import columns_of, parse
from ingest.statistics.answers import Definition, definitions
from ingest.statistics.requests import with_start
from ingest.statistics.tiles import Tiles
from ingest.windows.carried import carried
from pipeline.online.generations import DefinitionError
from pipeline.online.packing import Packing
from schema.spec import RankingSpec
from serving.store.protocol import StoreError

_HEAD = struct.Struct("<2s6s4siI")
_MAGIC = b"F1"
# Stands for a text that is missing: no text of the logs holds it.
_NO_TEXT = "\0"
# How many rows are in a tile of a tail, beside the sums: one that has lost all its rows is none.
ROWS = "rows"


class CorruptValueError(StoreError):
    """A value that isn't what was written; the message has its key."""


@dataclass(frozen=True)
class Seal:
    """What values of one origin begin with.

    Attributes:
      digest: 12 hexadecimal digits of the definition.
      origin: 8 hexadecimal digits of the generation, or of a tail's day.
      until: the day up to which the value is complete.
    """

    digest: str
    origin: str
    until: int

    @classmethod
    def of_tail(cls, digest: str, day: int) -> "Seal":
        return cls(digest, f"{day:08x}", day)

    def close(self, key: bytes, content: bytes) -> bytes:
        """Returns the value."""
        checksum = zlib.crc32(content, zlib.crc32(key))
        origin = bytes.fromhex(self.origin)
        return _HEAD.pack(_MAGIC, bytes.fromhex(self.digest), origin, self.until, checksum) + content

    def open(self, key: bytes, value: bytes) -> memoryview:
        """Returns the content of a value.

        Raises:
          CorruptValueError: it has been cut or changed, or is another key's.
          DefinitionError: it is of another definition or generation.
        """
        content = memoryview(value)[_HEAD.size :]
        if len(value) < _HEAD.size:
            raise CorruptValueError(f"{key!r}: a value of {len(value)} bytes, expected {_HEAD.size} at least")
        magic, digest, origin, until, checksum = _HEAD.unpack_from(value)
        if magic != _MAGIC or checksum != zlib.crc32(content, zlib.crc32(key)):
            raise CorruptValueError(f"{key!r}: the value isn't what was written under this key")
        if (digest.hex(), origin.hex(), until) != (self.digest, self.origin, self.until):
            raise DefinitionError(
                f"{key!r}: expected definition {self.digest}, generation {self.origin} up to day {self.until}; got "
                f"{digest.hex()}, {origin.hex()}, {until}"
            )
        return content


@dataclass(frozen=True)
class StoredUser:
    """A user's base.

    Attributes:
      rows: those that were carried on, as `carried.carried` returns them.
      last: the last row's features from the log, by their column; empty without a row.
      features: those of the users table as examples hold them, one row; None where the table lacks the user.
      statistics: the state of each statistic by user, in their order; the keys in it lack the user's text.
    """

    rows: pa.Table
    last: dict[str, object]
    features: pa.Table | None
    statistics: tuple[pa.Table, ...]


class Layout:
    """How the values of a spec are packed; the spec has the precision of its generation."""

    def __init__(self, spec: RankingSpec):
        self.spec = spec
        empty = {name: pa.array([], pa.string()) for name in columns_of(spec, "log")}
        log = with_start(spec, without_digests(parse(spec, "log", RawBatch("", np.zeros(0, np.int64), empty))[0]))
        # What the rows of the log are as `rows.parse` types them.
        self.log_schema = log.schema
        self.carried_schema = carried(spec, log, 0).schema
        self.rows = Packing(_without_user(self.carried_schema))
        self.last = Packing(_feature_schema(spec, "log"))
        self.tail = Packing(_without_user(log.schema))
        self.features = {source: Packing(_feature_schema(spec, source)) for source in ("users", "items")}
        self.definitions = definitions(spec)
        self.by_user = tuple(definition for definition in self.definitions if definition.statistic.by_user)
        self.shared = tuple(definition for definition in self.definitions if not definition.statistic.by_user)
        self.statistics = tuple(Packing(_state_schema(definition)) for definition in self.by_user)

    @cached_property
    def state_types(self) -> Mapping[str, np.dtype]:
        """Returns the records of each shared statistic's base, by its name."""
        return {definition.statistic.name: _records(definition, base=True) for definition in self.shared}

    @cached_property
    def tail_types(self) -> Mapping[str, np.dtype]:
        """Returns the records of each shared statistic's tail, by its name."""
        return {definition.statistic.name: _records(definition, base=False) for definition in self.shared}

    def read_user(self, user: str, key: bytes, content: memoryview) -> StoredUser:
        """Reads a user's base.

        Raises:
          CorruptValueError: it isn't one of this layout.
        """
        tables = []
        try:
            for packing in (self.rows, self.last, self.features["users"], *self.statistics):
                table, _, (end,) = packing.unpack([content])
                tables.append(table)
                content = content[end:]
        except ValueError as error:
            raise CorruptValueError(f"{key!r}: {error}") from None
        rows, last, features, *statistics = tables
        return StoredUser(
            with_user(present_texts(rows), [user] * len(rows), self.carried_schema),
            {name: values[0] for name, values in present_features(last).to_pydict().items()} if len(last) else {},
            features if len(features) else None,
            tuple(statistics),
        )


def _without_user(schema: pa.Schema) -> pa.Schema:
    return schema.remove(schema.get_field_index("user"))


def with_user(rows: pa.Table, users: Sequence[str] | pa.Array, schema: pa.Schema) -> pa.Table:
    """Returns rows of the log with the user that they are of."""
    columns = [rows[name] if name != "user" else pa.array(users, pa.string()) for name in schema.names]
    return pa.table(columns, schema=schema)


def filled_texts(rows: pa.Table) -> pa.Table:
    """Returns rows in which a mark stands for a text that is missing."""
    for index, field in enumerate(rows.schema):
        if rows[field.name].null_count:
            rows = rows.set_column(index, field, pc.fill_null(rows[field.name], _filling(field.type)))
    return rows


def _filling(kind: pa.DataType) -> pa.Scalar:
    if pa.types.is_string(kind):
        return pa.scalar(_NO_TEXT)
    if pa.types.is_list(kind):
        return pa.scalar([], kind)
    if pa.types.is_fixed_size_list(kind):
        return pa.scalar([np.nan] * kind.list_size, kind)
    return pa.scalar(np.nan, kind)


def present_texts(rows: pa.Table) -> pa.Table:
    """Returns rows as they were before `filled_texts`; what is missing beside texts is empty or NaN, which is alike."""
    for index, field in enumerate(rows.schema):
        if pa.types.is_string(field.type):
            texts = rows[field.name]
            missing = pc.equal(texts, _NO_TEXT)
            if pc.any(missing).as_py():
                rows = rows.set_column(index, field, pc.if_else(missing, pa.scalar(None, pa.string()), texts))
    return rows


def present_features(features: pa.Table) -> pa.Table:
    """Returns the log's features with a null where a text is missing, as `rows.parse` has them."""
    return present_texts(features)


def _feature_schema(spec: RankingSpec, source: str) -> pa.Schema:
    features = [feature for feature in spec.features_of(source) if not feature.derive]
    return pa.schema({f"feature:{feature.name}": reader_of(feature).type(feature) for feature in features})


def _state_schema(definition: Definition) -> pa.Schema:
    """Returns the columns of `encoding.tiles_table` of a state, the user's text taken from the keys."""
    size = len(definition.sums)
    integers, floats = pa.list_(pa.int64(), size), pa.list_(pa.float64(), size)
    fields: dict[str, pa.DataType] = {"key": pa.string(), "tile": pa.int64(), "total": integers}
    if definition.statistic.windows:
        fields["window"] = integers
    if definition.statistic.age:
        fields["latest"] = integers
    fields["base"] = pa.bool_()
    fields.update({f"decayed:{number}": floats for number in range(len(definition.spans.half_lives))})
    return pa.schema(fields)


def state_columns(definition: Definition, table: pa.Table) -> pa.Table:
    """Returns a part of a statistic's state with all its columns."""
    if definition.statistic.windows and "window" not in table.column_names:
        table = table.append_column("window", table["total"])
    return table.select(_state_schema(definition).names)


def keys_of_users(definition: Definition, table: pa.Table) -> tuple[pa.Array, pa.Table]:
    """Returns whose each row of a state is, and the rows with the rest of their keys."""
    keys = table["key"].combine_chunks()
    keys = keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys
    alone = len(definition.statistic.keys) == 1
    if alone:
        return keys, table.set_column(0, "key", pa.array([""] * len(keys), pa.string()))
    parts = pc.split_pattern(keys, "\0", max_splits=1)
    return pc.list_element(parts, 0), table.set_column(0, "key", pc.list_element(parts, 1))


def _records(definition: Definition, base: bool) -> np.dtype:
    size = (len(definition.sums),)
    fields: list[tuple] = [("tile", "<i8"), ("total", "<i8", size)]
    if definition.statistic.age:
        fields.append(("latest", "<i8", size))
    if not base:
        return np.dtype([*fields, (ROWS, "<i8")])
    if definition.statistic.windows:
        fields.append(("window", "<i8", size))
    halves = len(definition.spans.half_lives)
    return np.dtype([*fields, ("base", "?"), ("decayed", "<f8", (halves, *size))])


def records_of(tiles: Tiles, dtype: np.dtype, rows: np.ndarray | None = None) -> np.ndarray:
    """Returns tiles as records `[tiles]`; `rows` are how many rows each is of, in a tail."""
    records = np.zeros(len(tiles), dtype)
    records["tile"], records["total"] = tiles.tile, tiles.total
    if tiles.latest is not None:
        records["latest"] = tiles.latest
    if rows is not None:
        records[ROWS] = rows
        return records
    if "window" in (dtype.names or ()):
        records["window"] = tiles.window
    records["base"] = tiles.base if tiles.base is not None else False
    if tiles.decayed is not None:
        records["decayed"] = np.moveaxis(tiles.decayed, 0, 1)
    return records


def tiles_of_records(records: np.ndarray, code: np.ndarray, windows: bool) -> Tiles:
    """Returns the tiles of a base's or a tail's records, `code` being the number of each record's key."""
    names = records.dtype.names or ()
    total = np.ascontiguousarray(records["total"])
    is_base = "base" in names
    window = (np.ascontiguousarray(records["window"]) if "window" in names else total) if windows else None
    return Tiles(
        code,
        np.ascontiguousarray(records["tile"]),
        total,
        window,
        np.ascontiguousarray(records["latest"]) if "latest" in names else None,
        np.ascontiguousarray(records["base"]) if is_base else None,
        np.ascontiguousarray(np.moveaxis(records["decayed"], 1, 0)) if is_base else None,
    )


def read_records(
    dtype: np.dtype, keys: Sequence[bytes], contents: Sequence[memoryview | bytes]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the records of all contents, and int64 [contents] how many each has.

    Raises:
      CorruptValueError: one of them isn't a whole number of records.
    """
    sizes = np.array([len(content) for content in contents], np.int64)
    broken = np.flatnonzero(sizes % dtype.itemsize)
    if len(broken):
        raise CorruptValueError(f"{keys[broken[0]]!r}: {sizes[broken[0]]} bytes of records of {dtype.itemsize}")
    return np.frombuffer(b"".join(contents), dtype), sizes // dtype.itemsize
