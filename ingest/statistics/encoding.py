"""Tiles, asks and answers as Arrow tables: what passes the shuffle, and what days carry on."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ingest.chunks import packed
from ingest.statistics.tiles import Tiles


def tiles_table(tiles: Tiles, texts: pa.Array) -> pa.Table:
    """Returns the tiles with the text of each key; `window` only where it isn't `total`."""
    columns = {
        "key": _dictionary(tiles.key, texts),
        "tile": pa.array(tiles.tile),
        "total": fixed_lists(tiles.total),
    }
    if tiles.window is not None and tiles.window is not tiles.total:
        columns["window"] = fixed_lists(tiles.window)
    if tiles.latest is not None:
        columns["latest"] = fixed_lists(tiles.latest)
    if tiles.base is not None and tiles.decayed is not None:
        columns["base"] = pa.array(tiles.base)
        for number, decayed in enumerate(tiles.decayed):
            columns[f"decayed:{number}"] = fixed_lists(decayed)
    return pa.table(columns)


def tiles_of_table(table: pa.Table, code: np.ndarray, windows: bool) -> Tiles:
    """Returns the tiles of `tiles_table`; `code` is the number of each row's key."""
    total = matrix(table["total"])
    names = table.column_names
    halves = [matrix(table[name]) for name in names if name.startswith("decayed:")]
    decayed = np.stack(halves) if halves else np.zeros((0, *total.shape))
    return Tiles(
        code,
        table["tile"].to_numpy(),
        total,
        (matrix(table["window"]) if "window" in names else total) if windows else None,
        matrix(table["latest"]) if "latest" in names else None,
        table["base"].to_numpy() if "base" in names else None,
        decayed if "base" in names else None,
    )


def common_codes(columns: Sequence[pa.ChunkedArray | pa.Array]) -> tuple[pa.Array, list[np.ndarray]]:
    """Returns the distinct texts of several key columns, and for each column int64 [rows], the places among them."""
    encoded = [_encoded(column) for column in columns]
    together = pa.concat_arrays(
        [pa.array([], pa.string()), *(array.dictionary for array in encoded)]
    ).dictionary_encode()
    code = together.indices.to_numpy().astype(np.int64)
    codes, start = [], 0
    for array in encoded:
        codes.append(code[start + array.indices.to_numpy().astype(np.int64)])
        start += len(array.dictionary)
    return together.dictionary, codes


def _encoded(column: pa.ChunkedArray | pa.Array) -> pa.DictionaryArray:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0) if column.num_chunks else pa.array([], pa.string())
    return column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()


def split_tiles(tiles: Tiles, texts: pa.Array, bucket: np.ndarray) -> dict[int, bytes]:
    """Returns the tiles by the bucket of their key; `bucket` is that of each text."""
    return {
        number: packed(tiles_table(tiles.take(rows), texts)) for number, rows in _by_bucket(bucket[tiles.key]).items()
    }


def split_asks(
    key: np.ndarray, edge: np.ndarray, texts: pa.Array, bucket: np.ndarray
) -> tuple[dict[int, bytes], np.ndarray]:
    """Returns the asks by the bucket of their key, and int64 [asks] the place of each once these stand in a row."""
    parts = _by_bucket(bucket[key])
    place = np.empty(len(key), np.int64)
    if parts:
        place[np.concatenate(list(parts.values()))] = np.arange(len(key))
    tables = {
        number: packed(pa.table({"key": _dictionary(key[rows], texts), "edge": edge[rows]}))
        for number, rows in parts.items()
    }
    return tables, place


def _by_bucket(bucket: np.ndarray) -> dict[int, np.ndarray]:
    """Returns the rows of each bucket, the buckets in order."""
    order = np.argsort(bucket, kind="stable")
    numbers, starts = np.unique(bucket[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)) if len(order) else {}


def _dictionary(key: np.ndarray, texts: pa.Array) -> pa.DictionaryArray:
    """Returns the texts of sorted keys, only those that occur."""
    new = np.ones(len(key), bool)
    new[1:] = key[1:] != key[:-1]
    indices = (np.cumsum(new) - 1).astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(indices), texts.take(pa.array(key[new])))


def fixed_lists(values: np.ndarray) -> pa.FixedSizeListArray:
    """Returns a list a row of a matrix."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])


def matrix(column: pa.ChunkedArray) -> np.ndarray:
    """Returns the lists of `fixed_lists` as a matrix."""
    width = column.type.list_size
    parts = [chunk.flatten().to_numpy().reshape(-1, width) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.zeros((0, width), column.type.value_type.to_pandas_dtype())
