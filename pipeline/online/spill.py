"""Chunks of rows in files, by bucket: what is sorted by users, and by keys, needs no memory for all of them."""

import os
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from ingest.chunk_files import data_of
from ingest.chunks import Chunk

_HEAD = struct.Struct("<HIIQ")
_DONE = "done"
# What waits in memory.
_WAITING_BYTES = 32 << 20


class Spill:
    """Appends chunks to a file a bucket; whole once it is finished.

    Chunks wait in memory until there are some for each file, so that no more than one is open at a time.
    """

    def __init__(self, folder: Path, buckets: int):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _DONE).unlink(missing_ok=True)
        for path in folder.iterdir():
            path.unlink()
        self._folder = folder
        for bucket in range(buckets):
            (folder / str(bucket)).touch()
        self._waiting: defaultdict[int, list[bytes]] = defaultdict(list)
        self._bytes = 0

    def add(self, bucket: int, chunk: Chunk) -> None:
        """Appends a chunk."""
        source, file, number, place = chunk
        name, data = source.encode(), data_of(place)
        self._waiting[bucket] += [_HEAD.pack(len(name), file, number, len(data)) + name, data]
        self._bytes += len(data)
        if self._bytes >= _WAITING_BYTES:
            self._append()

    def finish(self, note: bytes = b"") -> None:
        """Writes what waits; from now on `finished` returns the note."""
        self._append()
        _write_whole(self._folder / _DONE, note)

    def _append(self) -> None:
        for bucket, blocks in self._waiting.items():
            with (self._folder / str(bucket)).open("ab") as file:
                file.writelines(blocks)
        self._waiting.clear()
        self._bytes = 0


def finished(folder: Path) -> bytes | None:
    """Returns the note of a folder that is whole, else None."""
    path = folder / _DONE
    return path.read_bytes() if path.exists() else None


def read_chunks(folder: Path, bucket: int) -> Iterator[Chunk]:
    """Yields the chunks of a bucket."""
    with (folder / str(bucket)).open("rb") as file:
        while head := file.read(_HEAD.size):
            length, number_of_file, number, size = _HEAD.unpack(head)
            yield file.read(length).decode(), number_of_file, number, file.read(size)


def write_parts(path: Path, parts: Iterable[tuple[int, bytes]]) -> None:
    """Writes numbered parts as one file, which is whole or isn't there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    index, data, offset = [], [], 0
    for number, content in parts:
        index.append(struct.pack("<IQQ", number, offset, len(content)))
        data.append(content)
        offset += len(content)
    _write_whole(path, b"".join([struct.pack("<I", len(index)), *index, *data]))


def read_parts(path: Path, number: int) -> Iterator[bytes]:
    """Yields the parts of a number, without reading the others."""
    entry = struct.Struct("<IQQ")
    with path.open("rb") as file:
        (count,) = struct.unpack("<I", file.read(4))
        entries = list(entry.iter_unpack(file.read(count * entry.size)))
        start = file.tell()
        for part_number, offset, size in entries:
            if part_number == number:
                file.seek(start + offset)
                yield file.read(size)


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
