"""Chunks of rows in files, by bucket: what is sorted by users, and by keys, needs no memory for all of them."""

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from ingest.chunks import Chunk

_HEAD = struct.Struct("<HIIQ")
_DONE = "done"


class Spill:
    """Appends chunks to a file a bucket; whole once it is finished."""

    def __init__(self, folder: Path, buckets: int):
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        self._folder = folder
        self._files = [(folder / str(bucket)).open("wb") for bucket in range(buckets)]

    def add(self, bucket: int, chunk: Chunk) -> None:
        """Appends a chunk."""
        source, file, number, data = chunk
        name = source.encode()
        self._files[bucket].write(_HEAD.pack(len(name), file, number, len(data)) + name + data)

    def finish(self, note: bytes = b"") -> None:
        """Closes the files; from now on `finished` returns the note."""
        for file in self._files:
            file.close()
        _write_whole(self._folder / _DONE, note)


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
