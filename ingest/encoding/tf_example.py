"""Columns -> serialised tf.Examples, on whole columns: Arrow concatenates the bytes of protobuf's wire format.

The encoder of tfx_bsl builds each example as a protobuf message, and ingest spent half of its time there. This makes
the same bytes several times faster, but for the order of the features, which here is always that of the columns.

    Example = 0a len Features;  Features = (0a len entry)*;  entry = 0a len name, 12 len Feature
    Feature = 0a len (0a len text)*  |  12 len (0a len float32*)  |  1a len (0a len varint*)
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_EMPTY = pa.scalar(b"", pa.large_binary())


def text_elements(texts: pa.Array) -> pa.Array:
    """Returns each text as an element of a BytesList: the tag, the length, the bytes."""
    texts = texts.cast(pa.binary())
    lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
    prefixes = _by_length(lengths, lambda length: b"\x0a" + varint(length))
    return pc.binary_join_element_wise(prefixes.cast(pa.binary()), texts, b"")


def serialized(columns: Mapping[str, pa.Array]) -> pa.Array:
    """Returns the examples, one a row, as large_binary.

    Args:
      columns: arrays or lists of float32, int64 or `text_elements`, all of the same length.
    """
    pieces: list[pa.Array] = []
    for name, array in columns.items():
        pieces += _entry(name.encode(), array)
    features = pc.binary_join_element_wise(*pieces, _EMPTY)
    lengths = np.diff(_offsets(features, np.int64))
    return pc.binary_join_element_wise(_by_length(lengths, lambda n: b"\x0a" + varint(n)), features, _EMPTY)


def varint(number: int) -> bytes:
    """Returns Protobuf's variable-length integer: seven bits a byte, the lowest first."""
    result = bytearray()
    while number > 0x7F:
        result.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*result, number])


def _entry(name: bytes, array: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Returns a feature's entry in each example: what stands before its values, by their length, and the values."""
    if pa.types.is_list(array.type):
        edges = array.offsets.to_numpy().astype(np.int64)
        edges, values = edges - edges[0], array.flatten()
    else:
        edges, values = np.arange(len(array) + 1), array
    if pa.types.is_binary(values.type):
        tag, packed, data, offsets = b"\x0a", False, values.buffers()[2], _offsets(values, np.int32)
    elif pa.types.is_floating(values.type):
        tag, packed, data = b"\x12", True, pa.py_buffer(values.to_numpy())
        offsets = np.arange(len(values) + 1) * values.type.byte_width
    else:
        data, offsets = _varints(values.to_numpy())
        tag, packed = b"\x1a", True

    edges = offsets[edges].astype(np.int64)
    payload = pa.Array.from_buffers(
        pa.large_binary(), len(edges) - 1, [None, pa.py_buffer(edges), data or pa.py_buffer(b"")]
    )
    return _by_length(np.diff(edges), lambda length: _entry_head(name, tag, packed, length)), payload


@lru_cache(maxsize=1 << 17)
def _entry_head(name: bytes, tag: bytes, packed: bool, length: int) -> bytes:
    """Returns what stands before values of `length` bytes."""
    inner = b"\x0a" + varint(length) if packed and length else b""
    feature = tag + varint(len(inner) + length) + inner
    key = b"\x0a" + varint(len(name)) + name + b"\x12" + varint(len(feature) + length) + feature
    return b"\x0a" + varint(len(key) + length) + key


def _offsets(array: pa.Array, dtype: type) -> np.ndarray:
    return np.frombuffer(array.buffers()[1], dtype)[array.offset : array.offset + len(array) + 1]


def _by_length(lengths: np.ndarray, make: Callable[[int], bytes]) -> pa.Array:
    """Returns `make(length)` of each length, made once for each different one."""
    counts = np.bincount(lengths) if len(lengths) else np.zeros(0, np.int64)
    different = np.flatnonzero(counts)
    index = np.zeros(len(counts), np.int32)
    index[different] = np.arange(len(different))
    encoded = pa.array([make(length) for length in different.tolist()], pa.large_binary())
    return encoded.take(pa.array(index[lengths]))


def _varints(numbers: np.ndarray) -> tuple[pa.Buffer, np.ndarray]:
    """Returns int64 values as varints in a row, and where each begins; a negative one is its two's complement."""
    parts = numbers.astype(np.int64).view(np.uint64)[:, None] >> (7 * np.arange(10, dtype=np.uint64))
    sizes = np.maximum((parts != 0).sum(axis=1), 1)
    position = np.arange(10)
    data = (parts & np.uint64(0x7F)).astype(np.uint8) | np.where(position < sizes[:, None] - 1, 0x80, 0).astype(
        np.uint8
    )
    return pa.py_buffer(data[position < sizes[:, None]]), np.concatenate(([0], np.cumsum(sizes)))
