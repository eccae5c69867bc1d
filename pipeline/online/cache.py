"""What a reader of a generation keeps in its process: items' features, and the folded state of statistics' keys."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from ingest.examples import Lookup
from ingest.kinds import reader_of
from ingest.rank_request import NO_ITEM
from pipeline.online.packing import Packing
from pipeline.online.values import CorruptValueError
from schema.spec import RankingSpec


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
        self._table = self._missing
        self._unknown = {NO_ITEM}

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
        present = [(item, key, content) for item, key, content in read if content is not None]
        self._unknown.update(item for item, content in zip(ids, contents, strict=True) if content is None)
        if not present:
            return
        try:
            table, counts, _ = self._packing.unpack([content for _, _, content in present])
        except ValueError as error:
            raise CorruptValueError(f"{present[0][1]!r} or another item read with it: {error}") from None
        if (counts != 1).any():
            raise CorruptValueError(f"{present[int(np.argmax(counts != 1))][1]!r}: expected one row of an item")
        start = self._table.num_rows
        self._rows.update({item: start + place for place, (item, _, _) in enumerate(present)})
        self._table = pa.concat_tables([self._table, table]).combine_chunks()

    def lookup(self, ids: Sequence[str]) -> tuple[Lookup, set[str]]:
        """Returns the features of distinct ids, of which nothing is absent, and those that the generation lacks."""
        rows = pa.array([*(self._rows.get(item, 0) for item in ids), 0])
        features = {
            field.name.removeprefix("feature:"): _take(self._table[field.name], rows) for field in self._table.schema
        }
        return Lookup(pa.array(ids, pa.string()), features), {item for item in ids if item not in self._rows}


def _take(column: pa.ChunkedArray, rows: pa.Array) -> pa.Array:
    array = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    return array.take(rows)


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


# What a key's rows before an edge sum up to, float32, and the latest times, where ages are asked for.
Answer: TypeAlias = tuple[np.ndarray, np.ndarray | None]


class AnswerCache:
    """The answers of a statistic's keys at one edge, after one batch of events."""

    def __init__(self) -> None:
        self._stamped: tuple[tuple[int, int], dict[str, Answer]] = ((0, -1), {})

    def at(self, stamp: tuple[int, int]) -> dict[str, Answer]:
        """Returns the answers at an edge after so many batches, which may be added to."""
        # Another thread may ask at another moment meanwhile.
        stamped = self._stamped
        if stamped[0] != stamp:
            self._stamped = stamped = stamp, {}
        return stamped[1]
