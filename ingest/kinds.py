"""How ingest reads each kind of feature, a class a kind: from the cells of a log or a table to an example's values."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.maps import map_entries
from ingest.values import Column, Rejects
from schema.columns import MISSING
from schema.features import LIST_MARKS
from schema.spec import Feature


class Reader(ABC):
    """What a kind of feature is to ingest, `fulcrum check` and `fulcrum rank`.

    Typed values, one a row, lie between the files and the examples; a missing one is null in them (or NaN).
    """

    def separator(self, feature: Feature) -> str | None:
        """Returns what stands between the values in a cell of the feature's column; None if it holds one."""
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

        It is evened out as ingest does it: `1.0` is `1`.

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


class TextLists(Reader):
    """Any number of texts a row."""

    def separator(self, feature: Feature) -> str | None:
        return feature.separator

    def type(self, feature: Feature) -> pa.DataType:
        return pa.list_(pa.string())

    def parse(self, feature: Feature, column: Column) -> pa.Array:
        """Returns each cell's values: the elements of a list, or the parts of a text; missing and empty ones left out.

        A row without a cell is null.
        """
        if pa.types.is_nested(column.array.type):
            cells = column.array.cast(pa.list_(column.array.type.value_type))
            offsets, flat = _compact(cells)
            rejects = Rejects(len(flat))
            texts = self._texts_of(feature, column, flat, rejects)
            if rejects.mask.any():
                whose = np.repeat(np.arange(len(cells)), np.diff(offsets))
                for element, (reason, _) in rejects.reasons.items():
                    column.rejects.add(np.arange(len(cells)) == whose[element], reason, column.shown)
        else:
            parts = pc.split_pattern(pc.fill_null(column.plain_texts(), ""), feature.separator)
            offsets, flat = _compact(parts)
            texts = self._texts_of(feature, column, flat, Rejects(len(flat)))
            cells = column.plain_texts()
        full = pc.and_(pc.is_valid(texts), pc.not_equal(pc.fill_null(texts, ""), "")).to_numpy(zero_copy_only=False)
        edges = np.concatenate(([0], np.cumsum(full)))[offsets]
        mask = pc.is_null(cells)
        return pa.ListArray.from_arrays(pa.array(edges, pa.int32()), texts.filter(pa.array(full)), mask=mask)

    def _texts_of(self, feature: Feature, column: Column, elements: pa.Array, rejects: Rejects) -> pa.Array:
        """Returns the elements of lists as categories, null = missing; stripped before they are evened out."""
        if feature.strip:
            elements = _stripped(Column(column.name, elements, rejects).plain_texts())
        return Column(column.name, elements, rejects, column.missing).texts()

    def fill(self, feature: Feature, values: pa.Array) -> pa.Array:
        """Returns an empty list in place of a missing one."""
        return pc.fill_null(values, pa.scalar([], values.type))

    def is_constant(self, values: pa.Array) -> bool:
        first = {tuple(value) for value in values.slice(0, 1_000).to_pylist() if value is not None}
        return len(first) <= 1 and len({tuple(value) for value in values.to_pylist() if value is not None}) == 1

    def doubts(self, feature: Feature, values: pa.Array) -> Iterator[str]:
        tokens = pc.list_flatten(values)
        if (pc.max(pc.list_value_length(values)).as_py() or 0) <= 1:
            separator = next((sep for sep in "|,;" if pc.any(pc.match_substring(tokens, sep)).as_py()), None)
            if separator:
                yield f"no value has the separator {feature.separator!r}, some have {separator!r}"
        odd = pc.filter(tokens, pc.match_substring_regex(tokens, r"^[\s\['\"]|[\s\]'\"]$"))
        if len(odd):
            yield (
                f"{len(odd):,} of {len(tokens):,} values begin or end with a space, a bracket or a quote, such as "
                f"{odd[0].as_py()!r}; `strip: true` takes them away"
            )


def _stripped(texts: pa.Array) -> pa.Array:
    return pc.utf8_trim(texts, LIST_MARKS)


def _compact(lists: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Returns where each list begins, and the last ends, among all lists' elements, and these; a null has none."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.concatenate(([0], np.cumsum(lengths))), pc.list_flatten(lists)


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

    def separator(self, feature: Feature) -> str:
        return feature.separator

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
    return pc.split_pattern(column.plain_texts(), separator)


def _vectors(name: str, lists: pa.Array, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns lists of `size` elements as `(n, size)`, NaN where there is no number, and which of them are no vectors.

    One that lacks its numbers in all places is missing; in some, it is no vector.
    """
    flat = pc.list_flatten(lists)
    elements = Column(name, flat, Rejects(len(flat)))
    numbers = elements.numbers().reshape(-1, size)
    absent, is_wrong = np.isnan(numbers), elements.rejects.mask.reshape(-1, size).any(axis=1)
    return numbers, is_wrong | (absent.any(axis=1) & ~absent.all(axis=1))


class Maps(TextLists):
    """Any number of entries `key=value` a row."""

    def separator(self, feature: Feature) -> str | None:
        return None

    def parse(self, feature: Feature, column: Column) -> pa.Array:
        return map_entries(feature, column)

    def doubts(self, feature: Feature, values: pa.Array) -> Iterator[str]:
        yield from ()


READERS: dict[str, Reader] = {
    "categorical": Texts(),
    "multi": TextLists(),
    "numeric": Numbers(),
    "vector": Vectors(),
    "map": Maps(),
}


def reader_of(feature: Feature) -> Reader:
    """Returns the reader of a feature that isn't derived."""
    return READERS[str(feature.kind)]
