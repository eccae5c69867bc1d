"""What a reader of a generation keeps in its process of items, and the values that were asked for last."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa

from ingest.examples import Lookup
from ingest.kinds import reader_of
from ingest.rank_request import NO_ITEM
from pipeline.online.answers import KeyCodes
from pipeline.online.growing import Rows, room
from pipeline.online.packing import Packing
from pipeline.online.values import CorruptValueError
from schema.columns import MISSING
from schema.spec import RankingSpec

Value = TypeVar("Value")


class _Column:
    """A feature of items: numbers, vectors `[rows, size]`, texts, or an array of texts a row.

    Equal values of text are one object, and have a number, the place among the distinct ones.
    """

    def __init__(self, kind: pa.DataType):
        self._kind = kind
        self._is_text = pa.types.is_string(kind) or pa.types.is_list(kind)
        if pa.types.is_fixed_size_list(kind):
            self._values = Rows(kind.value_type.to_pandas_dtype(), (kind.list_size,))
        else:
            self._values = Rows(object if self._is_text else kind.to_pandas_dtype())
        self._codes = Rows(np.int64)
        self._distinct: dict[Any, int] = {}
        self._names: list[Any] = []
        self._objects: list[Any] = []

    def append(self, column: pa.Array) -> None:
        """Adds a row for each value."""
        if self._is_text:
            codes = [self._code(value) for value in column.to_pylist()]
            values = np.empty(len(codes), object)
            for row, code in enumerate(codes):
                values[row] = self._objects[code]
            self._codes.append(np.array(codes, np.int64))
        elif pa.types.is_fixed_size_list(column.type):
            values = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
        else:
            values = column.to_numpy(zero_copy_only=False)
        self._values.append(values)

    def _code(self, value: str | list[str]) -> int:
        name = value if isinstance(value, str) else tuple(value)
        code = self._distinct.setdefault(name, len(self._objects))
        if code == len(self._objects):
            self._names.append(name)
            texts = [value] if isinstance(value, str) else value
            encoded = np.empty(len(texts), object)
            encoded[:] = [text.encode() for text in texts]
            self._objects.append(encoded[0] if isinstance(value, str) else encoded)
        return code

    def snapshot(self) -> "_Values":
        """Returns the rows there are."""
        return _Values(self._kind, self._values.array, self._codes.array, self._distinct, self._names)


@dataclass(frozen=True)
class _Values:
    """A column's rows, and of texts the number of each row's, and the distinct ones by their numbers."""

    kind: pa.DataType
    values: np.ndarray
    codes: np.ndarray
    distinct: Mapping[Any, int]
    names: Sequence[Any]

    def take(self, places: np.ndarray) -> Sequence[Any] | np.ndarray:
        """Returns the rows at places, as `ingest.rank_request.column_values` does."""
        rows = self.values[places]
        return rows.tolist() if pa.types.is_list(self.kind) else rows

    def arrow(self, places: np.ndarray) -> pa.Array:
        """Returns the rows at places with their type."""
        values = self.values[places]
        if pa.types.is_list(self.kind):
            offsets = np.concatenate(([0], np.cumsum([len(row) for row in values]))).astype(np.int32)
            flat = [text for row in values for text in row]
            return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, pa.binary()).cast(self.kind.value_type))
        if pa.types.is_fixed_size_list(self.kind):
            flat_type = self.kind.value_type
            return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1), flat_type), self.kind.list_size)
        if pa.types.is_string(self.kind):
            return pa.array(values, pa.binary()).cast(pa.string())
        return pa.array(values, self.kind)


@dataclass(frozen=True)
class Items:
    """What is known of some items.

    Attributes:
      places: int64 [items], the row of each in the cache.
      unknown: how many the generation lacks.
      epoch: within which the rows stay what they are.
    """

    places: np.ndarray
    unknown: int
    epoch: int
    _ids: "_Ids"
    _columns: Mapping[str, _Values]

    def __len__(self) -> int:
        return len(self.places)

    @property
    def ids(self) -> np.ndarray:
        """Returns the items' ids, bytes."""
        return self._ids.encoded.array[self.places]

    def texts(self) -> list[str]:
        """Returns the items' ids."""
        return [self._ids.texts[place] for place in self.places.tolist()]

    def values(self) -> dict[str, Sequence[Any] | np.ndarray]:
        """Returns each feature's values, as `ingest.rank_request.column_values` returns those of examples."""
        return {name: column.take(self.places) for name, column in self._columns.items()}

    def id_keys(self) -> KeyCodes:
        """Returns the items as keys."""
        return KeyCodes(self.places, self._ids.texts, self.epoch)

    def keys(self, feature: str) -> KeyCodes:
        """Returns a feature's texts as keys."""
        column = self._columns[feature]
        code, missing = column.codes[self.places], column.distinct.get(MISSING, -1)
        return KeyCodes(np.where(code == missing, -1, code), column.names, self.epoch)

    def lookup(self) -> Lookup:
        """Returns the table of distinct items, ready to be joined."""
        # After its rows a lookup has a missing one.
        places = np.append(self.places, 0)
        features = {name: column.arrow(places) for name, column in self._columns.items()}
        return Lookup(pa.array(self.texts(), pa.string()), features)


@dataclass(frozen=True)
class _Ids:
    """The ids by their rows."""

    texts: list[str]
    encoded: Rows


class ItemCache:
    """Features of items, as examples hold them; those that the generation lacks have missing ones."""

    def __init__(self, spec: RankingSpec, packing: Packing, most: int):
        self._packing, self._most = packing, most
        features = [feature for feature in spec.features_of("items") if not feature.derive]
        missing = {
            f"feature:{feature.name}": reader_of(feature).fill(feature, pa.nulls(1, reader_of(feature).type(feature)))
            for feature in features
        }
        self._missing = pa.table(missing, packing.schema)
        self._epoch = 0
        self._clear()

    def _clear(self) -> None:
        self._epoch += 1
        self._rows: dict[str, int] = {}
        self._taken = 0
        self._ids = _Ids([], Rows(object))
        self._is_unknown = Rows(bool)
        self._columns = {field.name.removeprefix("feature:"): _Column(field.type) for field in self._missing.schema}
        # The first row is a missing item.
        self._append([NO_ITEM], self._missing, is_unknown=True)

    def _append(self, ids: list[str], table: pa.Table, is_unknown: bool) -> None:
        for field in table.schema:
            column = table[field.name]
            array = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
            self._columns[field.name.removeprefix("feature:")].append(array)
        start, encoded = len(self._ids.texts), np.empty(len(ids), object)
        encoded[:] = [item.encode() for item in ids]
        self._ids.texts.extend(ids)
        self._ids.encoded.append(encoded)
        self._is_unknown.append(np.full(len(ids), is_unknown))
        self._taken += room(ids)
        self._rows.update({item: start + index for index, item in enumerate(ids)})

    def absent(self, ids: Iterable[str]) -> list[str]:
        """Returns those of the distinct ids that nothing is known of yet."""
        return [item for item in ids if item not in self._rows]

    def add(self, ids: Sequence[str], keys: Sequence[bytes], contents: Sequence[memoryview | None]) -> None:
        """Adds what a store holds of items; None is an item that it doesn't have.

        Raises:
          CorruptValueError: a content isn't one of an item.
        """
        if self._taken + room(ids) > self._most:
            self._clear()
        # Another thread may have read the same item.
        read = [row for row in zip(ids, keys, contents, strict=True) if row[0] not in self._rows]
        unknown = [item for item, _, content in read if content is None]
        if unknown:
            self._append(unknown, self._missing.take([0] * len(unknown)), is_unknown=True)
        present = [(item, key, content) for item, key, content in read if content is not None]
        if not present:
            return
        try:
            table, counts, _ = self._packing.unpack([content for _, _, content in present])
        except ValueError as error:
            raise CorruptValueError(f"{present[0][1]!r} or another item read with it: {error}") from None
        if (counts != 1).any():
            raise CorruptValueError(f"{present[int(np.argmax(counts != 1))][1]!r}: expected one row of an item")
        self._append([item for item, _, _ in present], table, is_unknown=False)

    def items(self, ids: Collection[str]) -> Items | None:
        """Returns what is known of ids; None where nothing is known yet of one of them."""
        try:
            places = np.fromiter(map(self._rows.__getitem__, ids), np.int64, len(ids))
        except KeyError:
            return None
        unknown = int(np.count_nonzero(self._is_unknown.array[places]))
        columns = {name: column.snapshot() for name, column in self._columns.items()}
        return Items(places, unknown, self._epoch, self._ids, columns)


class Recent(Generic[Value]):
    """The values that were asked for last, so many at most; of use to many threads at once."""

    def __init__(self, most: int):
        self._most = most
        self._lock = threading.Lock()
        self._values: OrderedDict[str, Value] = OrderedDict()

    def get(self, key: str) -> Value | None:
        """Returns a value, None where there is none."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def add(self, key: str, value: Value) -> None:
        """Adds a value, in place of the one that was asked for longest ago."""
        with self._lock:
            self._values[key] = value
            if len(self._values) > self._most:
                self._values.popitem(last=False)
