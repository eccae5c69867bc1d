"""Rows on their way through a shuffle: Arrow tables as bytes, by bucket."""

import zlib
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from ingest.chunk_files import Data, table_of

# A chunk: (source, file, number in the file, Arrow IPC stream).
Chunk = tuple[str, int, int, Data]


def bucket_of(keys: pa.Array, buckets: int) -> np.ndarray:
    """Returns the bucket of each key: CRC-32 of its text, the same in every process and run."""
    encoded = keys.dictionary_encode()
    hashes = [zlib.crc32(key) % buckets for key in encoded.dictionary.cast(pa.binary()).to_pylist()]
    return np.array(hashes, np.int32)[encoded.indices.to_numpy()]


def packed(table: pa.Table) -> bytes:
    """Returns the table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def by_source(chunks: Iterable[Chunk]) -> dict[str, list[Chunk]]:
    """Returns the chunks of each source."""
    sources: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        sources.setdefault(chunk[0], []).append(chunk)
    return sources


def unpacked(chunks: Iterable[Chunk]) -> pa.Table | None:
    """Returns the chunks as one table, in the order of the logs; None without any."""
    ordered = sorted(chunks, key=lambda chunk: chunk[:3])
    return pa.concat_tables(table_of(chunk[3]) for chunk in ordered) if ordered else None
