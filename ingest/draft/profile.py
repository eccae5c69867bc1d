"""What a sample of a column holds, as far as a first guess of its meaning needs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.errors import IngestError
from ingest.values import Column, MissingWords, Rejects, bools

_DEFAULT_MISSING = MissingWords()


@dataclass(frozen=True)
class Profile:
    """A sample of one column: its name and its cells, null where one is missing.

    `cells` are texts, times (`pa.timestamp`, `pa.date`) or lists of texts, whatever the file's format; `is_float` says
    that the file types them as floats.
    """

    name: str
    cells: pa.Array
    is_float: bool = False

    @classmethod
    def of(cls, name: str, arrays: Sequence[pa.Array], missing: MissingWords = _DEFAULT_MISSING) -> "Profile":
        """Returns the profile of a column as a reader gave it, batch by batch."""
        is_float = any(_holds_floats(array.type) for array in arrays)
        filled = [array for array in arrays if array.null_count < len(array)]
        if filled and all(pa.types.is_temporal(array.type) for array in filled):
            cells = [array.cast(filled[0].type) for array in arrays]
        elif any(pa.types.is_nested(array.type) for array in filled):
            cells = [_text_lists(name, array, missing) for array in arrays]
        else:
            cells = [Column(name, array, Rejects(len(array)), missing).texts() for array in arrays]
        return cls(name, pa.concat_arrays(cells) if cells else pa.array([], pa.string()), is_float)

    @property
    def rows(self) -> int:
        return len(self.cells)

    @property
    def present(self) -> int:
        return self.rows - self.cells.null_count

    @cached_property
    def is_list(self) -> bool:
        return pa.types.is_nested(self.cells.type)

    @cached_property
    def is_time(self) -> bool:
        """Returns whether the file itself types the column as times or dates."""
        return pa.types.is_timestamp(self.cells.type) or pa.types.is_date(self.cells.type)

    @cached_property
    def texts(self) -> pa.Array:
        """Returns the cells as texts, null where missing; of a list its elements."""
        return pc.list_flatten(self.cells) if self.is_list else self.cells.cast(pa.string())

    @cached_property
    def counts(self) -> tuple[pa.Array, np.ndarray]:
        """Returns the distinct texts, the most frequent first, and how often each is there."""
        counted = pc.value_counts(pc.drop_null(self.texts))
        values, sizes = counted.field("values"), counted.field("counts").to_numpy()
        order = np.lexsort((pc.rank(values, tiebreaker="dense").to_numpy(), -sizes))
        return values.take(pa.array(order)), sizes[order]

    @property
    def distinct(self) -> int:
        return len(self.counts[0])

    @property
    def values(self) -> list[str]:
        """Returns the distinct texts, the most frequent first."""
        return self.counts[0].to_pylist()

    @cached_property
    def numbers(self) -> np.ndarray | None:
        """Returns float64, NaN where missing; None if a cell isn't a number, or none is."""
        if self.is_list or self.is_time or not self.present:
            return None
        rejects = Rejects(self.rows)
        try:
            numbers = Column(self.name, self.cells, rejects).numbers()
        except IngestError:
            return None
        if rejects.mask.any() or np.isnan(numbers).all() or self.is_truth:
            return None
        return numbers

    @cached_property
    def known_numbers(self) -> np.ndarray:
        """Returns the numbers that aren't missing; none where the column holds texts."""
        return np.zeros(0) if self.numbers is None else self.numbers[~np.isnan(self.numbers)]

    @property
    def is_whole(self) -> bool:
        numbers = self.known_numbers
        return len(numbers) > 0 and bool((numbers == np.floor(numbers)).all())

    @cached_property
    def is_truth(self) -> bool:
        """Returns whether the column is written as `true` and `false`, `t` and `f`."""
        values = {value.lower() for value in self.values[:5]}
        return len(values) > 0 and values <= {"true", "false", "t", "f"}

    @cached_property
    def flags(self) -> np.ndarray | None:
        """Returns int8, 1, 0 or -1 where missing; None if the column holds anything but 0 and 1, true and false."""
        if self.is_list or self.is_time or not self.present or self.distinct > 6:
            return None
        rejects = Rejects(self.rows)
        flags = Column(self.name, self.cells, rejects).flags()
        return None if rejects.mask.any() else flags

    @property
    def sizes(self) -> np.ndarray:
        """Returns of lists how many elements each has; those that are missing have none."""
        return pc.fill_null(pc.list_value_length(self.cells), 0).to_numpy(zero_copy_only=False)

    def where(self, rows: np.ndarray) -> "Profile":
        """Returns the profile of the rows of a boolean array."""
        return Profile(self.name, self.cells.filter(pa.array(rows)), self.is_float)


def _holds_floats(array_type: pa.DataType) -> bool:
    if pa.types.is_nested(array_type):
        return pa.types.is_floating(array_type.value_type)
    return pa.types.is_floating(array_type)


def _text_lists(name: str, array: pa.Array, missing: MissingWords) -> pa.Array:
    """Returns lists of texts; a text beside lists is a list of one."""
    if pa.types.is_nested(array.type):
        lists = array.cast(pa.list_(array.type.value_type))
        texts = Column(name, lists.flatten(), Rejects(len(lists.flatten())), missing).texts()
        offsets = np.concatenate(([0], np.cumsum(pc.fill_null(pc.list_value_length(lists), 0))))
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), texts, mask=pc.is_null(lists))
    texts = Column(name, array, Rejects(len(array)), missing).texts()
    return pa.ListArray.from_arrays(pa.array(np.arange(len(texts) + 1), pa.int32()), texts, mask=pc.is_null(texts))


def share(mask: np.ndarray | pa.Array) -> float:
    """Returns the share of true ones; 0 of nothing."""
    values = bools(mask) if isinstance(mask, pa.Array | pa.ChunkedArray) else mask
    return float(values.mean()) if len(values) else 0.0
