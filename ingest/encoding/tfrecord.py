"""Writes serialised examples as TFRecords compressed by gzip, whole files only."""

import struct
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from isal import isal_zlib

_LEVEL = 1
_GZIP = 31


def framed(records: pa.Array) -> pa.Buffer:
    """Returns the records (large_binary) in a row, framed as TFRecords: length, checksum, data, checksum."""
    offsets = np.frombuffer(records.buffers()[1], np.int64)[records.offset : records.offset + len(records) + 1]
    data = records.buffers()[2].to_pybytes()
    checksums = [google_crc32c.value(data[start:stop]) for start, stop in pairwise(offsets.tolist())]
    heads = pa.array([_head(length) for length in np.diff(offsets).tolist()], pa.large_binary())
    tails = np.frombuffer(_masked(np.array(checksums, np.uint32)).astype("<u4").tobytes(), "S4")
    size = len(records)
    tails = pa.Array.from_buffers(
        pa.large_binary(), size, [None, pa.py_buffer(np.arange(size + 1) * 4), pa.py_buffer(tails)]
    )
    joined = pc.binary_join_element_wise(heads, records, tails, pa.scalar(b"", pa.large_binary()))
    return joined.buffers()[2]


def _masked(checksum: np.ndarray) -> np.ndarray:
    """Returns TFRecord's checksum: CRC-32C, rotated right by 15 bits, plus a constant."""
    return (checksum >> np.uint32(15) | checksum << np.uint32(17)) + np.uint32(0xA282EAD8)


@lru_cache(maxsize=1 << 16)
def _head(length: int) -> bytes:
    packed = struct.pack("<Q", length)
    return packed + _masked(np.array([google_crc32c.value(packed)], np.uint32)).astype("<u4").tobytes()


def write_whole(path: str, blocks: Iterable[bytes], scratch: str) -> None:
    """Writes the blocks to `path`: under a name of its own in the folder `scratch` first, so that no part ever shows.

    Raises:
      OSError: the file can't be written; its `filename` is `path`.
    """
    temporary = FileSystems.join(scratch, uuid.uuid4().hex)
    try:
        with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
            for block in blocks:
                stream.write(block)
        make_folder(path.rsplit("/", 1)[0])
        FileSystems.rename([temporary], [path])
    except BaseException as error:
        if FileSystems.exists(temporary):
            FileSystems.delete([temporary])
        if isinstance(error, OSError):
            error.filename = path
        raise


def make_folder(path: str) -> None:
    if not FileSystems.exists(path):
        try:
            FileSystems.mkdirs(path)
        except OSError:
            # Another worker was faster.
            if not FileSystems.exists(path):
                raise


def gzipped(batches: Iterable[pa.Array]) -> Iterator[bytes]:
    """Yields the batches of records as one gzip stream of TFRecords."""
    packer = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
    # Compression works without the interpreter's lock: a batch is compressed while the next one is made.
    with ThreadPoolExecutor(1) as thread:
        pending = None
        for records in batches:
            block = framed(records)
            if pending is not None:
                yield pending.result()
            pending = thread.submit(packer.compress, block)
        if pending is not None:
            yield pending.result()
    yield packer.flush()
