"""Files whose columns have types, Parquet and Avro -> rows."""

import io
import itertools
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import fastavro
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ingest.errors import IngestError
from ingest.raw import RawBatch, Separators, holds_maps, require

_PARQUET_ROWS = 131_072
_AVRO_ROWS = 50_000
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
_UUID_BYTES = 16


def read_parquet(name: str, reopen: Any, columns: Mapping[str, str], separators: Separators) -> Iterator[RawBatch]:
    """Yields the `columns` of a Parquet file."""
    file = open_parquet(reopen())
    absent = require(name, file.schema_arrow.names, columns)
    present = [column for column in columns if column not in absent]
    uuids = uuid_columns(file)
    first = 1
    for batch in file.iter_batches(columns=present, batch_size=_PARQUET_ROWS):
        rows = np.arange(first, first + batch.num_rows, dtype=np.int64)
        first += batch.num_rows
        arrays = {column: flat(name, column, batch.column(column), separators) for column in present}
        arrays |= {column: _as_uuids(arrays[column]) for column in present if column in uuids}
        arrays |= {column: pa.nulls(batch.num_rows, pa.string()) for column in absent}
        yield RawBatch(name, rows, arrays, absent=absent, share=(first - 1) / file.metadata.num_rows)


def open_parquet(stream: Any) -> pyarrow.parquet.ParquetFile:
    """Opens a Parquet file, which is read from its end: what is compressed once more goes to memory."""
    source = stream if isinstance(stream, io.BufferedReader) and _seeks(stream) else io.BytesIO(stream.read())
    return pyarrow.parquet.ParquetFile(pa.PythonFile(source, mode="r"))


def _seeks(stream: io.BufferedReader) -> bool:
    try:
        return stream.seekable()
    except (OSError, ValueError):
        return False


def uuid_columns(file: pyarrow.parquet.ParquetFile) -> set[str]:
    """Returns the names of the columns that Parquet says are UUIDs."""
    columns = (file.schema.column(index) for index in range(len(file.schema)))
    return {column.name for column in columns if str(column.logical_type) == "UUID"}


def _as_uuids(array: pa.Array) -> pa.Array:
    if pa.types.is_string(array.type):
        return array
    texts = (None if value is None else str(uuid.UUID(bytes=value)) for value in array.to_pylist())
    return pa.array(texts, pa.string())


def _text_or_uuid(value: bytes | None) -> str | None:
    """Returns 16 bytes as the text that they are, else as the UUID, which many writers don't declare."""
    if value is None:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    return text if text and text.isprintable() else str(uuid.UUID(bytes=value))


def read_avro(name: str, reopen: Any, columns: Mapping[str, str], separators: Separators) -> Iterator[RawBatch]:
    """Yields the `columns` of an Avro file, typed as its schema says."""
    reader = fastavro.reader(reopen())
    header = [field["name"] for field in reader.writer_schema["fields"]]  # type: ignore[index, call-overload]
    absent = require(name, header, columns)
    records: Iterator[Any] = iter(reader)
    first = 1
    while piece := list(itertools.islice(records, _AVRO_ROWS)):
        arrays = {column: _inferred(name, column, [row.get(column) for row in piece], separators) for column in columns}
        yield RawBatch(name, np.arange(first, first + len(piece), dtype=np.int64), arrays, absent=absent)
        first += len(piece)


def _inferred(name: str, column: str, values: list[Any], separators: Separators) -> pa.Array:
    values = [str(value) if isinstance(value, uuid.UUID) else value for value in values]
    if holds_maps(column, separators):
        # Not a struct, which would have a column for each key.
        return pa.array([orjson.dumps(value).decode() if isinstance(value, dict) else value for value in values])
    try:
        return flat(name, column, pa.array(values), separators)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # A union of types.
        if any(isinstance(value, list | dict) for value in values):
            raise IngestError(f"{name}: column {column!r} mixes lists with single values") from None
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def flat(name: str, column: str, array: pa.Array, separators: Separators) -> pa.Array:
    """Returns a column of single values as it is, and lists where it may hold several: without nulls in them.

    Raises:
      IngestError: the column holds something else; its type.
    """
    array_type = array.type
    if isinstance(array_type, pa.BaseExtensionType):
        is_uuid = array_type.extension_name == "arrow.uuid"
        return _as_uuids(array.storage) if is_uuid else flat(name, column, array.storage, separators)
    if pa.types.is_dictionary(array_type):
        return flat(name, column, array.dictionary_decode(), separators)
    if (pa.types.is_map(array_type) or pa.types.is_struct(array_type)) and holds_maps(column, separators):
        return array
    if any(is_list(array_type) for is_list in _LISTS) and separators.get(column):
        if pa.types.is_nested(array_type.value_type):
            raise IngestError(f"{name}: column {column!r} holds {array_type}, expected lists of single values")
        return array
    if pa.types.is_nested(array_type):
        raise IngestError(f"{name}: column {column!r} holds {array_type}, expected single values")
    if pa.types.is_fixed_size_binary(array_type) and array_type.byte_width == _UUID_BYTES:
        return pa.array([_text_or_uuid(value) for value in array.to_pylist()], pa.string())
    wide = (pa.types.is_large_string, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    if any(is_type(array_type) for is_type in wide):
        return array.cast(pa.binary())
    if str(array_type) in ("string_view", "binary_view"):
        return array.cast(pa.string() if str(array_type) == "string_view" else pa.binary())
    if pa.types.is_decimal(array_type):
        return pc.replace_substring_regex(array.cast(pa.string()), r"(?:\.0+|(\.\d*[1-9])0+)$", r"\1")
    return array.cast(pa.string()) if pa.types.is_null(array_type) else array
