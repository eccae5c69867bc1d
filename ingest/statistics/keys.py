"""The key of each row: the texts of a user, an item and features, joined where there are several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.examples import Lookup
from ingest.times import derived
from schema.columns import MISSING
from schema.spec import Feature, RankingSpec
from schema.statistics import ITEM, USER

# No text of the logs holds it.
SEPARATOR = "\0"
# The column of rows of daily logs (`ingest.windows.rolling`).
_DAY = "day"


@dataclass(frozen=True)
class Keys:
    """Distinct texts, in no order, and int64 [rows] each row's place among them, -1 where a part is missing."""

    texts: pa.Array
    code: np.ndarray


class KeyColumns:
    """Reads the keys of rows as `ingest.rows.parse` gives them, beside the tables of their days."""

    def __init__(
        self, spec: RankingSpec, rows: pa.Table, users: Callable[[int], Lookup], items: Callable[[int], Lookup]
    ):
        self._spec, self._rows = spec, rows
        self._tables = {"users": (USER, users), "items": (ITEM, items)}
        self._features = {feature.name: feature for feature in spec.features}
        self._columns: dict[str, Keys] = {}

    def of(self, names: Sequence[str]) -> Keys:
        """Returns the keys by the names together; a user's text goes first, whatever the order of the names."""
        names = sorted(names, key=lambda name: name != USER)
        keys = self._column(names[0])
        for name in names[1:]:
            keys = _joined(keys, self._column(name))
        return keys

    def _column(self, name: str) -> Keys:
        if name not in self._columns:
            self._columns[name] = self._read(name)
        return self._columns[name]

    def _read(self, name: str) -> Keys:
        if name in (USER, ITEM):
            return _encoded(self._rows[name])
        feature = self._features[name]
        if feature.derive:
            return self._derived(feature)
        if feature.source == "log":
            return _encoded(self._rows[f"feature:{name}"])
        return self._of_table(feature)

    def _derived(self, feature: Feature) -> Keys:
        code = derived(feature, self._rows["time"].to_numpy(), self._spec.log.timestamp)
        return Keys(pa.array([str(number) for number in range(24)]), code)

    def _of_table(self, feature: Feature) -> Keys:
        whose, lookup = self._tables[feature.source]
        ids = self._column(whose)
        day = np.zeros(self._rows.num_rows, np.int32)
        if _DAY in self._rows.column_names:
            day = self._rows[_DAY].to_numpy()
        # Where one table holds for all days it is looked at once.
        days, day_index = np.unique(day, return_inverse=True)
        tables = [lookup(day_number) for day_number in days.tolist()]
        distinct = list({id(table): table for table in tables}.values())
        table_of = np.array(
            [next(i for i, candidate in enumerate(distinct) if candidate is table) for table in tables], np.int64
        )
        values = [table.features[feature.name].take(table.rows_of(ids.texts)) for table in distinct]
        column = _encoded(pa.chunked_array(values or [pa.array([], pa.string())]))
        return Keys(column.texts, column.code[table_of[day_index] * len(ids.texts) + ids.code])


def _encoded(column: pa.ChunkedArray) -> Keys:
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    code = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    missing = pc.index(encoded.dictionary, MISSING).as_py() if len(encoded.dictionary) else -1
    return Keys(encoded.dictionary, np.where(code == missing, -1, code) if missing >= 0 else code)


def _joined(left: Keys, right: Keys) -> Keys:
    size = max(len(right.texts), 1)
    code = np.full(len(left.code), -1, np.int64)
    valid = (left.code >= 0) & (right.code >= 0)
    packed, inverse = np.unique(left.code[valid] * size + right.code[valid], return_inverse=True)
    code[valid] = inverse
    texts = pc.binary_join_element_wise(
        left.texts.take(pa.array(packed // size)), right.texts.take(pa.array(packed % size)), SEPARATOR
    )
    return Keys(texts, code)
