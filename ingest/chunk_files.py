"""Chunks in files of this machine, so that a runner which groups in memory holds their places alone."""

import logging
import os
import uuid
from pathlib import Path

import pyarrow as pa

from ingest.errors import LostRowsError

# What a chunk holds: the bytes, or where they are (path, offset, length).
Data = bytes | tuple[str, int, int]
# A place has about as many bytes.
_LEAST_BYTES = 512


class ChunkFiles:
    """Writes the bytes of chunks, each instance to a file of its own; without a folder it hands them on as they are."""

    def __init__(self, folder: str | None):
        """Takes the folder, on a disk that every worker sees; nothing is written yet."""
        self._folder = folder
        self._file: int | None = None
        self._path, self._end = "", 0

    def put(self, data: bytes) -> Data:
        """Returns what stands for the data in a chunk; on a disk that takes no more, the data itself."""
        if self._folder is None or len(data) < _LEAST_BYTES:
            return data
        try:
            if self._file is None:
                Path(self._folder).mkdir(parents=True, exist_ok=True)
                self._path = f"{self._folder}/{uuid.uuid4().hex}"
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            start, rest = self._end, memoryview(data)
            while rest:
                # Not buffered: who reads it is another thread or process.
                written = os.write(self._file, rest)
                self._end += written
                rest = rest[written:]
        except OSError as error:
            logging.warning("%s: can't be written: %s; chunks stay in memory", self._folder, error.strerror)
            return data
        return self._path, start, len(data)

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def data_of(data: Data) -> bytes:
    """Returns the bytes of a chunk.

    Raises:
      LostRowsError: the file can't be read, or is cut.
    """
    if isinstance(data, bytes):
        return data
    path, offset, length = data
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            content = file.read(length)
    except OSError as error:
        raise LostRowsError(f"{path}: what ingest shuffles can't be read: {error.strerror or error}") from None
    if len(content) != length:
        raise LostRowsError(f"{path}: of what ingest shuffles, expected {length} bytes at {offset}, got {len(content)}")
    return content


def table_of(data: Data) -> pa.Table:
    """Returns the table whose Arrow IPC stream a chunk holds; raises as `data_of`."""
    return pa.ipc.open_stream(data_of(data)).read_all()
