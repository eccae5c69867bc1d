"""Tables of a known schema as bytes, a value a group of rows, and back; without names and types, which both ends know.

A value is the number of its rows, the size of each stream, and the streams: of a column of fixed width its numbers, of
texts their lengths and their bytes, of lists their lengths and what is in them. Nothing is null.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class _Stream:
    """Bytes of all rows, and where each group's begin and the last ends."""

    data: memoryview
    edges: np.ndarray


class Packing:
    """Writes and reads the values of tables of one schema.

    Its types are numbers, booleans, texts, lists of texts, and numbers in lists of a fixed size.
    """

    def __init__(self, schema: pa.Schema):
        self.schema = schema
        self._streams = sum(_stream_count(field.type) for field in schema)
        self._head = struct.Struct(f"<{self._streams + 1}I")

    def pack(self, table: pa.Table, edges: np.ndarray) -> list[bytes]:
        """Returns a value for each group of rows; group i is the rows `edges[i]:edges[i + 1]`."""
        streams = [stream for field in self.schema for stream in _split(_combined(table, field), edges)]
        rows = np.diff(edges).tolist()
        sizes = [np.diff(stream.edges).tolist() for stream in streams]
        places = [stream.edges.tolist() for stream in streams]
        values = []
        for group in range(len(rows)):
            head = self._head.pack(rows[group], *(size[group] for size in sizes))
            pieces = (stream.data[at[group] : at[group + 1]] for stream, at in zip(streams, places, strict=True))
            values.append(b"".join((head, *pieces)))
        return values

    def unpack(self, values: Sequence[memoryview]) -> tuple[pa.Table, np.ndarray, list[int]]:
        """Reads values that may be followed by other bytes.

        Returns:
          The rows of all values, how many each value has, and where what follows each value begins.

        Raises:
          ValueError: a value isn't one of this schema.
        """
        size = self._head.size
        if any(len(value) < size for value in values):
            raise ValueError("a value ends before its streams do")
        heads = np.frombuffer(b"".join(value[:size] for value in values), np.uint32)
        heads = heads.reshape(len(values), self._streams + 1).astype(np.int64)
        ends = size + np.cumsum(heads[:, 1:], axis=1)
        starts = ends - heads[:, 1:]
        after = (ends[:, -1] if self._streams else np.full(len(values), size)).tolist()
        if any(len(value) < end for value, end in zip(values, after, strict=True)):
            raise ValueError("a value ends before its streams do")
        joined = [
            b"".join(value[start:end] for value, start, end in zip(values, first, last, strict=True))
            for first, last in zip(starts.T.tolist(), ends.T.tolist(), strict=True)
        ]
        rows = int(heads[:, 0].sum())
        streams = iter(joined)
        columns = [_joined(field.type, streams, rows) for field in self.schema]
        return pa.table(columns, schema=self.schema), heads[:, 0], after


def _stream_count(kind: pa.DataType) -> int:
    return 3 if pa.types.is_list(kind) else 2 if pa.types.is_string(kind) else 1


def _combined(table: pa.Table, field: pa.Field) -> pa.Array:
    column = table[field.name].cast(field.type)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays([pa.array([], field.type), *column.chunks])


def _split(column: pa.Array, edges: np.ndarray) -> list[_Stream]:
    """Returns the streams of a column without nulls, whose groups of rows begin at `edges`."""
    if pa.types.is_list(column.type):
        offsets = column.offsets.to_numpy().astype(np.int64)
        lengths = _numbers(np.diff(offsets).astype(np.int32), edges)
        return [lengths, *_split(column.flatten(), offsets[edges] - offsets[0])]
    if pa.types.is_string(column.type):
        offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
        data = column.buffers()[2]
        return [
            _numbers(np.diff(offsets), edges),
            _Stream(memoryview(data) if data is not None else memoryview(b""), offsets[edges].astype(np.int64)),
        ]
    if pa.types.is_fixed_size_list(column.type):
        return [_numbers(column.flatten().to_numpy(), edges * column.type.list_size)]
    return [_numbers(column.to_numpy(zero_copy_only=False), edges)]


def _numbers(values: np.ndarray, edges: np.ndarray) -> _Stream:
    return _Stream(bytes_of(values), edges * values.itemsize)


def bytes_of(values: np.ndarray) -> memoryview:
    """Returns the bytes of numbers or records, without a copy where they lie in a row."""
    return memoryview(np.ascontiguousarray(values).reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def _joined(kind: pa.DataType, streams: Iterator[bytes], rows: int) -> pa.Array:
    """Returns a column of `rows` rows from the streams that are its next ones."""
    if pa.types.is_list(kind):
        offsets = _offsets(next(streams), rows)
        return pa.ListArray.from_arrays(pa.array(offsets), _joined(kind.value_type, streams, int(offsets[-1])))
    if pa.types.is_string(kind):
        offsets, data = _offsets(next(streams), rows), next(streams)
        if int(offsets[-1]) != len(data):
            raise ValueError(f"texts of {int(offsets[-1])} bytes, got {len(data)}")
        return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(data))
    if pa.types.is_fixed_size_list(kind):
        size = kind.list_size
        return pa.FixedSizeListArray.from_arrays(_joined(kind.value_type, streams, rows * size), size)
    return pa.array(_checked(next(streams), kind.to_pandas_dtype(), rows))


def _offsets(stream: bytes, rows: int) -> np.ndarray:
    return np.concatenate((np.zeros(1, np.int32), np.cumsum(_checked(stream, np.int32, rows), dtype=np.int32)))


def _checked(stream: bytes, dtype: type, rows: int) -> np.ndarray:
    values: np.ndarray = np.frombuffer(stream, dtype)
    if len(values) != rows:
        raise ValueError(f"{rows} numbers, got {len(values)}")
    return values
