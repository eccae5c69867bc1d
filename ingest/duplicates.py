"""Rows that stand in the logs more than once: equal in every column that the spec reads (`log.duplicates`).

Where they are asked about, a row carries a digest of these columns, and where it stands. All of a user's rows meet in
one bucket, so that no row is compared with another user's.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.raw import RawBatch
from ingest.values import Column, MissingWords, Rejects, bools
from schema.spec import RankingSpec

DIGEST = "digest"
FILE, ROW = "digest_file", "digest_row"
REASON = "duplicates: the row stands in the log before"

# Which row stands there twice, in words: file, row, and what it is equal to.
EqualRow = tuple[str, int, str]


def with_digests(spec: RankingSpec, table: pa.Table, batch: RawBatch) -> pa.Table:
    """Returns a batch's typed rows with `DIGEST`, `FILE` and `ROW`, if the spec asks about duplicates."""
    if spec.log.duplicates == "keep":
        return table
    missing = MissingWords.of(spec.log)
    times = spec.log.timestamp.column
    texts = [_texts(name, array, missing) for name, array in sorted(batch.columns.items()) if name != times]
    texts.append(table["time"].combine_chunks().cast(pa.string()))
    digests = [hashlib.blake2b(row, digest_size=16).digest() for row in _joined(texts).to_pylist()]
    table = table.append_column(DIGEST, pa.array(digests, pa.binary()))
    table = table.append_column(FILE, pa.array([batch.file] * len(digests), pa.string()).dictionary_encode())
    return table.append_column(ROW, pa.array(batch.rows, pa.int64()))


def _texts(name: str, array: pa.Array, missing: MissingWords) -> pa.Array:
    if pa.types.is_nested(array.type):
        return pa.array([None if value is None else repr(value) for value in array.to_pylist()], pa.string())
    return Column(name, array, Rejects(len(array)), missing).texts()


def _joined(texts: list[pa.Array]) -> pa.Array:
    """Returns each row's cells as one value, which no other row's cells give: each behind its length."""
    cells = []
    for text in texts:
        length = pc.fill_null(pc.binary_length(text).cast(pa.string()), "-")
        cells.append(pc.binary_join_element_wise(length, pc.fill_null(text, ""), ":"))
    return pc.binary_join_element_wise(*cells, "").cast(pa.binary())


def without_duplicates(
    table: pa.Table, earlier: pa.Table | None = None, new: np.ndarray | None = None
) -> tuple[pa.Table, list[EqualRow]]:
    """Returns the rows without those that are equal to one before them, and these; only their digests stay with rows.

    Args:
      table: typed rows in the order of the logs. Without digests they all stay.
      earlier: rows that were before them, as days carry them on.
      new: bool [rows], which rows of `table` are not among `earlier` themselves; by default all.
    """
    if DIGEST not in table.column_names:
        return table, []
    codes = table[DIGEST].combine_chunks().dictionary_encode()
    codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
    first = np.unique(codes.indices.to_numpy(), return_index=True)[1]
    repeats = np.ones(table.num_rows, bool)
    repeats[first] = False
    carried = np.zeros(table.num_rows, bool)
    if earlier is not None:
        carried = bools(pc.is_in(table[DIGEST], value_set=earlier[DIGEST].combine_chunks()))
        carried &= True if new is None else new
    equal_rows = _equal_rows(table, first[codes.indices.to_numpy()], repeats, carried)
    left = table.drop_columns([FILE, ROW])
    return (left.filter(pa.array(~(repeats | carried))) if equal_rows else left), equal_rows


def without_digests(table: pa.Table) -> pa.Table:
    """Returns rows without what they are compared by, where nothing is compared any more."""
    return table.drop_columns([name for name in (DIGEST, FILE, ROW) if name in table.column_names])


def _equal_rows(table: pa.Table, original: np.ndarray, repeats: np.ndarray, carried: np.ndarray) -> list[EqualRow]:
    files, rows = table[FILE].cast(pa.string()).to_pylist(), table[ROW].to_pylist()
    return [
        (
            files[index],
            rows[index],
            "a row of an earlier day" if carried[index] else f"{files[original[index]]} row {rows[original[index]]}",
        )
        for index in np.flatnonzero(repeats | carried).tolist()
    ]


def refused(count: int, first: EqualRow) -> str:
    """Returns the sentence that stops a run whose spec has `duplicates: error`."""
    file, row, original = first
    return (
        f"log.duplicates: {count:,} rows are equal to one before them in every column that the spec reads, expected "
        f"none (`drop` leaves them out). The first: {file} row {row} is the same as {original}"
    )


def counts_of(equal_rows: list[EqualRow]) -> Mapping[str, int]:
    """Returns how many rows are unused as duplicates, by reason."""
    return {REASON: len(equal_rows)} if equal_rows else {}
