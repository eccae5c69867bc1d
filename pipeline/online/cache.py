"""What a reader of a generation keeps in its process: items' features, and the folded state of statistics' keys."""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ingest.examples import Lookup
from ingest.kinds import reader_of
from ingest.rank_request import NO_ITEM
from pipeline.online.generations import Updates
from pipeline.online.packing import Packing
from pipeline.online.values import CorruptValueError
from schema.columns import MISSING
from schema.spec import RankingSpec


class Rows:
    """Rows of numbers or objects that grow in place: an array that was handed out stays as it is."""

    def __init__(self, dtype: Any, shape: tuple[int, ...] = ()):
        self._size = 0
        self._array = np.empty((16, *shape), dtype)

    def __len__(self) -> int:
        return self._size

    @property
    def array(self) -> np.ndarray:
        """Returns all rows; the array may be longer."""
        return self._array

    def append(self, values: np.ndarray) -> None:
        """Adds rows."""
        size = self._size + len(values)
        if size > len(self._array):
            grown = np.empty((max(size, 2 * len(self._array)), *self._array.shape[1:]), self._array.dtype)
            grown[: self._size] = self._array[: self._size]
            self._array = grown
        self._array[self._size : size] = values
        self._size = size


class _Column:
    """A feature of items: texts, numbers, vectors `[rows, size]`, or lists of texts as their places among all texts."""

    def __init__(self, kind: pa.DataType):
        self._kind = kind
        self.is_list = pa.types.is_list(kind)
        if pa.types.is_fixed_size_list(kind):
            self.values = Rows(kind.value_type.to_pandas_dtype(), (kind.list_size,))
        else:
            is_text = self.is_list or pa.types.is_string(kind)
            self.values = Rows(object if is_text else kind.to_pandas_dtype())
        self.starts, self.lengths = Rows(np.int64), Rows(np.int64)

    def append(self, column: pa.Array, texts: dict[bytes, bytes]) -> None:
        """Adds a row for each value; equal texts become one object of `texts`."""
        flat = column
        if self.is_list:
            offsets = column.offsets.to_numpy().astype(np.int64)
            self.starts.append(len(self.values) + offsets[:-1] - offsets[0])
            self.lengths.append(np.diff(offsets))
            flat = column.flatten()
        if pa.types.is_string(flat.type):
            same = [texts.setdefault(text, text) for text in flat.cast(pa.binary()).to_pylist()]
            values = np.empty(len(same), object)
            values[:] = same
        elif pa.types.is_fixed_size_list(flat.type):
            values = flat.flatten().to_numpy(zero_copy_only=False).reshape(-1, flat.type.list_size)
        else:
            values = flat.to_numpy(zero_copy_only=False)
        self.values.append(values)

    def snapshot(self) -> "_Values":
        """Returns the rows there are."""
        lists = (self.starts.array, self.lengths.array) if self.is_list else None
        return _Values(self._kind, self.values.array, lists)


@dataclass(frozen=True)
class _Values:
    """A column's rows; of lists where each begins among the values, and how many it has."""

    kind: pa.DataType
    values: np.ndarray
    lists: tuple[np.ndarray, np.ndarray] | None

    def take(self, places: np.ndarray) -> Sequence[Any] | np.ndarray:
        """Returns the rows at places, as `ingest.rank_request.column_values` does."""
        if self.lists is None:
            return self.values[places]
        starts, lengths = (rows[places].tolist() for rows in self.lists)
        return [self.values[start : start + length] for start, length in zip(starts, lengths, strict=True)]

    def arrow(self, places: np.ndarray) -> pa.Array:
        """Returns the rows at places with their type."""
        if self.lists is not None:
            taken = self.take(places)
            offsets = np.concatenate(([0], np.cumsum([len(row) for row in taken]))).astype(np.int32)
            flat = [text for row in taken for text in row]
            return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, pa.binary()).cast(self.kind.value_type))
        values = self.values[places]
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
      ids: the items.
      places: int64 [items], the row of each among the columns; 0 is one that the generation lacks.
    """

    ids: Sequence[str]
    places: np.ndarray
    _columns: Mapping[str, _Values]

    @property
    def unknown(self) -> int:
        """Returns how many the generation lacks."""
        return int((self.places == 0).sum())

    def values(self) -> dict[str, Sequence[Any] | np.ndarray]:
        """Returns each feature's values, as `ingest.rank_request.column_values` returns those of examples."""
        return {name: column.take(self.places) for name, column in self._columns.items()}

    def texts(self, feature: str) -> list[str | None]:
        """Returns the texts of a feature; None where it is missing."""
        texts = (text.decode() for text in self._columns[feature].values[self.places].tolist())
        return [None if text == MISSING else text for text in texts]

    def lookup(self) -> Lookup:
        """Returns the table of distinct items, ready to be joined."""
        # After its rows a lookup has a missing one.
        places = np.append(self.places, 0)
        features = {name: column.arrow(places) for name, column in self._columns.items()}
        return Lookup(pa.array(self.ids, pa.string()), features)


class ItemCache:
    """Features of items, as examples hold them; those that the generation lacks are remembered as missing."""

    def __init__(self, spec: RankingSpec, packing: Packing, most: int):
        self._packing, self._most = packing, most
        # The first row is a missing item.
        features = [feature for feature in spec.features_of("items") if not feature.derive]
        missing = {
            f"feature:{one.name}": reader_of(one).fill(one, pa.nulls(1, reader_of(one).type(one))) for one in features
        }
        self._missing = pa.table(missing, packing.schema)
        self._clear()

    def _clear(self) -> None:
        self._rows: dict[str, int] = {}
        self._unknown = {NO_ITEM}
        self._texts: dict[bytes, bytes] = {}
        self._columns = {field.name.removeprefix("feature:"): _Column(field.type) for field in self._missing.schema}
        self._size = 0
        self._append(self._missing)

    def _append(self, table: pa.Table) -> None:
        for field in table.schema:
            column = table[field.name]
            array = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
            self._columns[field.name.removeprefix("feature:")].append(array, self._texts)
        self._size += table.num_rows

    def __contains__(self, item: str) -> bool:
        return item in self._rows

    def absent(self, ids: Iterable[str]) -> list[str]:
        """Returns those of the distinct ids that nothing is known of yet."""
        return [item for item in ids if item not in self._rows and item not in self._unknown]

    def add(self, ids: Sequence[str], keys: Sequence[bytes], contents: Sequence[memoryview | None]) -> None:
        """Adds what a store holds of items; None is an item that it doesn't have.

        Raises:
          CorruptValueError: a content isn't one of an item.
        """
        if len(self._rows) + len(self._unknown) + len(ids) > self._most:
            self._clear()
        read = zip(ids, keys, contents, strict=True)
        # Another thread may have read the same item.
        present = [(item, key, content) for item, key, content in read if content is not None and item not in self]
        self._unknown.update(item for item, content in zip(ids, contents, strict=True) if content is None)
        if not present:
            return
        try:
            table, counts, _ = self._packing.unpack([content for _, _, content in present])
        except ValueError as error:
            raise CorruptValueError(f"{present[0][1]!r} or another item read with it: {error}") from None
        if (counts != 1).any():
            raise CorruptValueError(f"{present[int(np.argmax(counts != 1))][1]!r}: expected one row of an item")
        start = self._size
        self._append(table)
        self._rows.update({item: start + place for place, (item, _, _) in enumerate(present)})

    def items(self, ids: Sequence[str]) -> Items:
        """Returns what is known of ids, of which nothing is absent."""
        places = np.fromiter((self._rows.get(item, 0) for item in ids), np.int64, len(ids))
        return Items(ids, places, {name: column.snapshot() for name, column in self._columns.items()})


class KeyCache:
    """The contents of statistics' keys, which never change within a generation; empty where there is none."""

    def __init__(self, most: int):
        self._most = most
        self._contents: dict[tuple[str, str], bytes] = {}

    def add(self, statistic: str, contents: Mapping[str, bytes]) -> None:
        """Adds what a store holds of keys."""
        if len(self._contents) + len(contents) > self._most:
            self._contents = {}
        self._contents.update({(statistic, key): content for key, content in contents.items()})

    def of(self, statistic: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Returns the contents of those keys that are known."""
        pairs = ((key, self._contents.get((statistic, key))) for key in keys)
        return {key: content for key, content in pairs if content is not None}


class EdgeAnswers:
    """What a statistic's keys have summed up to at one edge; of use to many threads at once."""

    def __init__(self, width: int, ages: int | None):
        """Takes how many sums an answer has, and how many latest times, None without ages."""
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        self._sums = Rows(np.float32, (width,))
        self._latest = None if ages is None else Rows(np.int64, (ages,))

    def __len__(self) -> int:
        return len(self._places)

    def absent(self, keys: Collection[str]) -> list[str]:
        """Returns those of the distinct keys that aren't answered yet."""
        return [key for key in keys if key not in self._places]

    def add(self, keys: Sequence[str], sums: np.ndarray, latest: np.ndarray | None) -> None:
        """Adds the answers of distinct keys, float32 [keys, width] and int64 [keys, ages]."""
        with self._lock:
            start = len(self._sums)
            self._sums.append(sums)
            if self._latest is not None:
                assert latest is not None
                self._latest.append(latest)
            self._places.update({key: start + place for place, key in enumerate(keys)})

    def of(self, keys: Collection[str]) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns the answers of keys none of which is absent."""
        places = np.fromiter(map(self._places.__getitem__, keys), np.int64, len(keys))
        return self._sums.array[places], None if self._latest is None else self._latest.array[places]


class AnswerCache:
    """A statistic's answers at the edge that was asked for last, as long as no event has changed them."""

    def __init__(self, width: int, ages: int | None, most: int):
        self._shape, self._most = (width, ages), most
        self._current: tuple[int, int, EdgeAnswers] | None = None

    def at(self, edge: int, ticks: int, updates: Updates) -> EdgeAnswers:
        """Returns the answers at an edge, which lies at `ticks`, after these updates; they may be added to."""
        # Another thread may ask at another edge meanwhile.
        current = self._current
        if current is not None:
            last_edge, batches, answers = current
            if last_edge == edge and len(answers) <= self._most and updates.are_since(batches, ticks):
                if updates.batches > batches:
                    self._current = edge, updates.batches, answers
                return answers
        answers = EdgeAnswers(*self._shape)
        self._current = edge, updates.batches, answers
        return answers
