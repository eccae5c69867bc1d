"""Cells that hold a map, as entries `key=value`: of a typed column, of a JSON object, or of a text of entries."""

import math
from collections.abc import Mapping

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ingest.values import Column, Rejects
from schema.derived import ENTRY
from schema.spec import Feature

# What stands between the entries of a map in text.
_BETWEEN = "|"


def map_entries(feature: Feature, column: Column) -> pa.Array:
    """Returns each cell's entries, `list<string>`; null where there is no map.

    An entry without a key or a value is left out. Of equal keys in a cell the last one counts. Keys are evened out as
    categories are, and so are values that are categories; a number is written as the shortest text that gives the same
    float32.

    Rejects what is no map, a key that holds `=`, and a value that isn't what `values` says.
    """
    maps = _maps(column)
    whose = np.repeat(np.arange(len(maps)), [len(cell) if cell else 0 for cell in maps])
    cells = [cell for cell in maps if cell]
    rejects = Rejects(len(whose))
    keys = _texts(column, [key for cell in cells for key in cell], rejects)
    values = Column(
        column.name, _texts_of([value for cell in cells for value in cell.values()]), rejects, column.missing
    )
    rejects.add(_bools(pc.match_substring(keys, ENTRY)), f"{column.name}: a key of the map holds {ENTRY!r}")
    if feature.values == "numeric":
        numbers = pa.array(values.numbers().astype(np.float32), from_pandas=True)
        texts = numbers.cast(pa.string())
    else:
        texts = values.texts()
    for element, (reason, _) in rejects.reasons.items():
        column.rejects.add(np.arange(len(maps)) == whose[element], reason, column.shown)
    entries = pc.binary_join_element_wise(keys, texts, ENTRY)
    full = _bools(pc.is_valid(entries))
    edges = np.concatenate(([0], np.cumsum(np.bincount(whose[full], minlength=len(maps)))))
    mask = pa.array([cell is None for cell in maps], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(edges, pa.int32()), entries.filter(pa.array(full)), mask=mask)


def _maps(column: Column) -> list[dict[str, object] | None]:
    """Returns each cell as a map, without the values that are null; None where there is none."""
    is_typed = pa.types.is_nested(column.array.type)
    cells = column.array.to_pylist() if is_typed else column.plain_texts().to_pylist()
    maps: list[dict[str, object] | None] = []
    is_wrong = np.zeros(len(cells), bool)
    for row, cell in enumerate(cells):
        try:
            pairs = _pairs(cell, column.missing.texts)
            is_wrong[row] = any(isinstance(value, dict | list) for value in (pairs or {}).values())
        except ValueError:
            is_wrong[row] = True
        pairs = None if is_wrong[row] else pairs
        maps.append(None if pairs is None else {key: value for key, value in pairs.items() if value is not None})
    column.rejects.add(is_wrong, f"{column.name}: expected a map", column.shown)
    return maps


def _pairs(cell: object, missing: tuple[str, ...]) -> Mapping[str, object] | None:
    """Returns a cell's keys and values.

    Raises:
      ValueError: it isn't a map.
    """
    if cell is None or isinstance(cell, dict):
        return cell
    if isinstance(cell, list):
        # Arrow's maps are lists of pairs.
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in cell):
            raise ValueError("a list")
        return {_text_of(key) or "": value for key, value in cell}
    text = str(cell).strip()
    if not text or text in missing:
        return None
    if text.startswith("{"):
        return orjson.loads(text)
    entries = (entry.partition(ENTRY) for entry in text.split(_BETWEEN) if entry.strip())
    pairs = {}
    for key, between, value in entries:
        if not between:
            raise ValueError("an entry without `=`")
        pairs[key.strip()] = value.strip()
    return pairs


def _texts(column: Column, values: list[str], rejects: Rejects) -> pa.Array:
    return Column(column.name, pa.array(values, pa.string()), rejects, column.missing).texts()


def _texts_of(values: list[object]) -> pa.Array:
    return pa.array([_text_of(value) for value in values], pa.string())


def _text_of(value: object) -> str | None:
    """Returns a value as JSON and CSV write it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bools(array: pa.Array) -> np.ndarray:
    return pc.fill_null(array, False).to_numpy(zero_copy_only=False)
