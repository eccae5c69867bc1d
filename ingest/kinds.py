"""How ingest reads each kind of feature, a class a kind: from the cells of a log or a table to an example's values."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats import Separator
from ingest.values import Column, Rejects
from schema.columns import MISSING
from schema.spec import Feature


class Reader(ABC):
    """What a kind of feature is to ingest, `fulcrum check` and `fulcrum rank`.

    Typed values, one a row, lie between the files and the examples; a missing one is null in them (or NaN).
    """

    def separator(self, feature: Feature) -> Separator | None:
        """Returns how a cell of the feature's column holds several values; None if it holds one."""
        return None

    @abstractmethod
    def type(self, feature: Feature) -> pa.DataType:
        """Returns the type of the typed values."""

    @abstractmethod
    def parse(self, feature: Feature, column: Column) -> pa.Array:
        """Returns the typed values of a column as it was read, whose unusable rows are marked in its `rejects`."""

    @abstractmethod
    def fill(self, feature: Feature, values: pa.Array) -> pa.Array:
        """Returns typed values as examples hold them: what `ExampleColumn.missing` says in place of missing ones."""

    def parse_text(self, feature: Feature, text: str | None) -> object:
        """Returns the typed value of a text, as `fulcrum rank` takes it; None is a missing one.

        Raises:
          ValueError: the text can't be a value; the reason.
        """
        rejects = Rejects(1)
        values = self.parse(feature, Column(feature.name, pa.array([text], pa.string()), rejects))
        if rejects.reasons:
            raise ValueError(rejects.reasons[0][1])
        return values[0].as_py()

    def is_constant(self, values: pa.Array) -> bool:
        """Returns whether typed values, beside missing ones, are all the same."""
        return pc.count_distinct(values, mode="only_valid").as_py() == 1

    def doubts(self, feature: Feature, values: pa.Array) -> Iterator[str]:
        """Yields what about typed values makes `fulcrum check` warn, beside missing and constant ones."""
        yield from ()


class Texts(Reader):
    """A text a row."""

    def type(self, feature: Feature) -> pa.DataType:
        return pa.string()

    def parse(self, feature: Feature, column: Column) -> pa.Array:
        return column.texts()

    def fill(self, feature: Feature, values: pa.Array) -> pa.Array:
        return pc.fill_null(values, MISSING)


class TextLists(Texts):
    """Any number of texts a row, one text with separators until the examples are made."""

    def separator(self, feature: Feature) -> Separator:
        return Separator(feature.separator)

    def fill(self, feature: Feature, values: pa.Array) -> pa.Array:
        """Returns each text's parts, the empty ones left out."""
        parts = pc.split_pattern(pc.fill_null(values, ""), feature.separator)
        flat = parts.flatten()
        full = pc.not_equal(flat, "").to_numpy(zero_copy_only=False)
        count = np.concatenate(([0], np.cumsum(full)))
        offsets = count[parts.offsets.to_numpy() - parts.offsets[0].as_py()]
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat.filter(pa.array(full)))

    def doubts(self, feature: Feature, values: pa.Array) -> Iterator[str]:
        if not pc.any(pc.match_substring(values, feature.separator)).as_py():
            separator = next((sep for sep in "|,;" if pc.any(pc.match_substring(values, sep)).as_py()), None)
            if separator:
                yield f"no value has the separator {feature.separator!r}, some have {separator!r}"


class Numbers(Reader):
    """A float32 a row, NaN if missing."""

    def type(self, feature: Feature) -> pa.DataType:
        return pa.float32()

    def parse(self, feature: Feature, column: Column) -> pa.Array:
        return pa.array(column.numbers().astype(np.float32))

    def fill(self, feature: Feature, values: pa.Array) -> pa.Array:
        return pc.fill_null(values, np.float32(np.nan))


class Vectors(Reader):
    """`size` float32 a row; null if missing, and NaN in each place of an example."""

    def separator(self, feature: Feature) -> Separator:
        return Separator(feature.separator, keeps_lists=True)

    def type(self, feature: Feature) -> pa.DataType:
        return pa.list_(pa.float32(), feature.size or 0)

    def parse(self, feature: Feature, column: Column) -> pa.Array:
        """Returns `list<float32>[size]`; empty, or without a number in any place, is missing.

        Rejects vectors of another size, and those with something that isn't a finite number.
        """
        size = feature.size or 0
        where, cells = f"feature {feature.name!r}", _lists(column, feature.separator)
        sizes = pc.fill_null(pc.list_value_length(cells), 0).to_numpy().astype(np.int64)
        for wrong_size in np.setdiff1d(sizes, [0, size]).tolist():
            numbers = f"{wrong_size:,} number{'s' * (wrong_size != 1)}"
            column.rejects.add(sizes == wrong_size, f"{where}: a vector of {numbers}, expected {size:,}")
        rows = np.flatnonzero(sizes == size)
        vectors = np.full((len(sizes), size), np.nan, np.float32)
        is_wrong = np.zeros(len(sizes), bool)
        vectors[rows], is_wrong[rows] = _vectors(column.name, cells.take(pa.array(rows)), size)
        column.rejects.add(is_wrong, f"{where}: expected {size:,} finite numbers", column.shown)
        is_missing = pa.array(np.isnan(vectors).all(axis=1))
        return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), size, mask=is_missing)

    def fill(self, feature: Feature, values: pa.Array) -> pa.Array:
        missing = pa.scalar([np.nan] * values.type.list_size, values.type)
        return pc.fill_null(values, missing)

    def is_constant(self, values: pa.Array) -> bool:
        size = values.type.list_size
        vectors = pc.list_flatten(values).to_numpy(zero_copy_only=False).reshape(-1, size)
        return len(vectors) > 0 and bool((vectors == vectors[0]).all())


def _lists(column: Column, separator: str) -> pa.Array:
    """Returns the cells as lists: those of a typed column as they are, texts split."""
    if pa.types.is_nested(column.array.type):
        return column.array
    return pc.split_pattern(column.texts(), separator)


def _vectors(name: str, lists: pa.Array, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns lists of `size` elements as `(n, size)`, NaN where there is no number, and which of them are no vectors.

    One that lacks its numbers in all places is missing; in some, it is no vector.
    """
    flat = pc.list_flatten(lists)
    elements = Column(name, flat, Rejects(len(flat)))
    numbers = elements.numbers().reshape(-1, size)
    absent, is_wrong = np.isnan(numbers), elements.rejects.mask.reshape(-1, size).any(axis=1)
    return numbers, is_wrong | (absent.any(axis=1) & ~absent.all(axis=1))


READERS: dict[str, Reader] = {
    "categorical": Texts(),
    "multi": TextLists(),
    "numeric": Numbers(),
    "vector": Vectors(),
}


def reader_of(feature: Feature) -> Reader:
    """Returns the reader of a feature that isn't derived."""
    return READERS[str(feature.kind)]
