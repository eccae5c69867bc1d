"""Files -> Arrow batches of the columns to read, as they stand, with each row's number; the unreadable rows apart.

Rows are counted from 1, and the header of a CSV file is row 1.
"""

import bz2
import csv
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from isal import igzip, isal_zlib

from ingest.errors import IngestError
from ingest.sources import FORMATS, format_of, open_raw

_BLOCK = 16 << 20
_JSON_LINES = 50_000
_PARQUET_ROWS = 131_072
_LONGEST_HEADER = 1 << 20


@dataclass(frozen=True)
class BadRow:
    """A row that ingest leaves out. `kind` is the reason without the value, by which rows are counted."""

    row: int
    kind: str
    reason: str
    text: str


@dataclass(frozen=True)
class RawBatch:
    """Some rows of one file. `columns` has each column to read as Arrow text, binary or typed array, null = missing."""

    file: str
    rows: np.ndarray  # int64
    columns: dict[str, pa.Array]
    bad: list[BadRow] = field(default_factory=list)


@dataclass(frozen=True)
class Separator:
    """How a column holds several values in a cell of text: `text` stands between them.

    So do those of a list in JSON then; a list in Parquet becomes such a text too, unless it `keeps_lists`.
    """

    text: str
    keeps_lists: bool = False


Separators = Mapping[str, Separator]


def read_file(path: str, columns: Mapping[str, str], separators: Separators | None = None) -> Iterator[RawBatch]:
    """Yields the `columns` of the file at `path`, batch by batch.

    Args:
      columns: what reads each column, by the column's name; the text goes into the error where a file lacks it.
      separators: the columns that may hold lists (in JSON or Parquet), and what becomes of these.

    Raises:
      IngestError: the file is cut short, isn't of its format, or lacks a column.
    """
    file_format, compression = format_of(path)
    try:
        with open_raw(path) as raw:
            if compression == "zip":
                yield from _read_zip(path, raw, columns, separators or {})
            else:
                yield from _READERS[str(file_format)](
                    path, lambda: _rewound(raw, compression), columns, separators or {}
                )
    except IngestError:
        raise
    except (EOFError, OSError, ValueError, zlib.error, zipfile.BadZipFile, isal_zlib.error) as error:  # type: ignore[misc]
        hint = "; is it cut short?" if compression or file_format == "parquet" else ""
        raise IngestError(f"{path}: can't be read as {compression or file_format}: {_one_line(error)}{hint}") from None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _rewound(raw: BinaryIO, compression: str | None) -> Any:
    raw.seek(0)
    return _decompressed(raw, compression)


def _decompressed(raw: BinaryIO, compression: str | None) -> Any:
    if compression == "gz":
        return igzip.IGzipFile(fileobj=raw)
    return bz2.BZ2File(raw) if compression == "bz2" else raw


def _read_zip(path: str, raw: BinaryIO, columns: Mapping[str, str], separators: Separators) -> Iterator[RawBatch]:
    with zipfile.ZipFile(raw) as archive:
        members = [info.filename for info in archive.infolist() if not info.is_dir() and format_of(info.filename)[0]]
        members = sorted(name for name in members if not name.startswith("__MACOSX/"))
        if not members:
            raise IngestError(f"{path}: holds no file whose name ends in one of {', '.join(FORMATS)}")
        for member in members:
            file_format, compression = format_of(member)

            def reopen(member: str = member, compression: str | None = compression) -> Any:
                return _decompressed(archive.open(member), compression)  # type: ignore[arg-type]

            name = f"{path}/{member}"
            yield from _READERS[str(file_format)](name, reopen, columns, separators)


def _require(name: str, header: list[str], columns: Mapping[str, str]) -> None:
    for column, reason in columns.items():
        if column not in header:
            raise IngestError(f"{name}: has no column {column!r}, which {reason} needs; its columns are {header}")
        if header.count(column) > 1:
            raise IngestError(f"{name}: has {header.count(column)} columns named {column!r}, expected one")


def _read_csv(name: str, reopen: Any, columns: Mapping[str, str], _: Separators) -> Iterator[RawBatch]:
    header = reopen().read(_LONGEST_HEADER).decode("utf-8-sig", errors="replace")
    if not header.strip():
        raise IngestError(f"{name}: is empty, expected a header line")
    _require(name, next(csv.reader(io.StringIO(header))), columns)
    bad: list[BadRow] = []
    numbers: list[int] = []

    def skip(row: Any) -> str:
        # A stray quote swallows the lines up to the next one; each of them counts as a row that can't be read.
        lines = row.text.split("\n") if row.actual_columns < row.expected_columns else [row.text]
        reason = f"expected {row.expected_columns} columns, got {row.actual_columns}"
        hint = f" ({len(lines)} lines in one row: is a quote unbalanced?)" if len(lines) > 1 else ""
        bad.extend(BadRow(row.number, reason, reason + hint, line) for line in lines)
        numbers.append(row.number)
        return "skip"

    batches = pa.csv.open_csv(
        reopen(),
        read_options=pa.csv.ReadOptions(block_size=_BLOCK, use_threads=False),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        convert_options=pa.csv.ConvertOptions(
            include_columns=list(columns), column_types=dict.fromkeys(columns, pa.binary()), strings_can_be_null=False
        ),
    )
    first = 2
    for batch in batches:
        rows = np.arange(first, first + batch.num_rows + len(numbers), dtype=np.int64)
        rows = np.setdiff1d(rows, numbers, assume_unique=True)[: batch.num_rows]
        first = int(rows[-1]) + 1 if len(rows) else first
        yield RawBatch(name, rows, dict(zip(batch.schema.names, batch.columns, strict=True)), bad[:])
        bad.clear()
    if bad:
        yield RawBatch(name, np.zeros(0, np.int64), {column: pa.array([], pa.binary()) for column in columns}, bad)


def _read_jsonl(name: str, reopen: Any, columns: Mapping[str, str], separators: Separators) -> Iterator[RawBatch]:
    keys: set[str] = set()
    any_rows = False
    for batch in _json_batches(name, reopen(), list(columns), separators, keys):
        any_rows = any_rows or len(batch.rows) > 0
        yield batch
    if any_rows:
        _require(name, sorted(keys), columns)


def _json_batches(
    name: str, stream: Any, names: list[str], separators: Separators, keys: set[str]
) -> Iterator[RawBatch]:
    rows: list[int] = []
    values: list[list[str | None]] = []
    bad: list[BadRow] = []

    def batch() -> RawBatch:
        columns = zip(*values, strict=True) if values else ((),) * len(names)
        arrays = {column: pa.array(texts, pa.string()) for column, texts in zip(names, columns, strict=True)}
        return RawBatch(name, np.array(rows, np.int64), arrays, bad[:])

    for number, line in enumerate(stream, 1):
        if line.isspace():
            continue
        try:
            record = orjson.loads(line)
            if not isinstance(record, dict):
                raise ValueError(f"expected an object, got {type(record).__name__}")
            texts = [_json_text(column, record.get(column), separators) for column in names]
        except ValueError as error:
            reason = "not JSON" if isinstance(error, orjson.JSONDecodeError) else _one_line(error)
            bad.append(BadRow(number, reason, f"{reason}: {_one_line(error)}", line.decode(errors="replace")))
        else:
            keys.update(record)
            rows.append(number)
            values.append(texts)
        if len(rows) + len(bad) >= _JSON_LINES:
            yield batch()
            rows, values = [], []
            bad.clear()
    if rows or bad:
        yield batch()


def _json_text(column: str, value: Any, separators: Separators) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list) and column in separators:
        return separators[column].text.join(_json_text("", element, {}) or "" for element in value)
    raise ValueError(f"{column}: expected a single value, got {'a list' if isinstance(value, list) else 'an object'}")


def _read_parquet(name: str, reopen: Any, columns: Mapping[str, str], separators: Separators) -> Iterator[RawBatch]:
    stream = reopen()
    # Parquet is read from its end: what is compressed once more goes to memory.
    source = stream if isinstance(stream, io.BufferedReader) else io.BytesIO(stream.read())
    file = pa.parquet.ParquetFile(pa.PythonFile(source, mode="r"))
    _require(name, file.schema_arrow.names, columns)
    first = 1
    for batch in file.iter_batches(columns=list(columns), batch_size=_PARQUET_ROWS):
        rows = np.arange(first, first + batch.num_rows, dtype=np.int64)
        first += batch.num_rows
        yield RawBatch(
            name, rows, {column: _plain(name, column, batch.column(column), separators) for column in columns}
        )


def _plain(name: str, column: str, array: pa.Array, separators: Separators) -> pa.Array:
    """Returns a flat column as it is, and a list as its column's separator says."""
    array_type = array.type
    if pa.types.is_dictionary(array_type):
        return _plain(name, column, array.dictionary_decode(), separators)
    if any(is_list(array_type) for is_list in _LISTS) and column in separators:
        if separators[column].keeps_lists:
            return array
        return pc.binary_join(array.cast(pa.list_(pa.string())), separators[column].text)
    if pa.types.is_nested(array_type):
        raise IngestError(f"{name}: column {column!r} holds {array_type}, expected single values")
    flat = (pa.types.is_large_string, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    if any(is_type(array_type) for is_type in flat):
        return array.cast(pa.binary())
    return array.cast(pa.string()) if pa.types.is_decimal(array_type) or pa.types.is_null(array_type) else array


_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
_READERS = {"csv": _read_csv, "jsonl": _read_jsonl, "parquet": _read_parquet}
