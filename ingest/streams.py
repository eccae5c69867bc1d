"""A stored file's bytes -> the bytes that a reader takes: decompressed, and in UTF-8."""

import bz2
import codecs
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
from isal import igzip

from ingest.errors import IngestError
from ingest.sources import format_of
from schema.files import SourceFiles

# How compressed files begin.
_MAGIC = ((b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"PK\x03\x04", "zip"))
_PARQUET, _AVRO = b"PAR1", b"Obj\x01"
_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HEAD = 4096


@dataclass(frozen=True)
class Member:
    """A file of rows: a stored file, or one of those in an archive; `reopen` gives its plain bytes from the start."""

    name: str
    file_format: str
    reopen: Callable[[], Any]


def members(path: str, raw: BinaryIO, section: SourceFiles) -> Iterator[Member]:
    """Yields the files of rows in the stored file `raw`; one without a byte has none.

    What the section doesn't declare goes by the name, and a compression that it doesn't tell by the first bytes.

    Raises:
      IngestError: the bytes are of another format, of UTF-16, or an archive without a file of rows.
    """
    head = raw.read(_HEAD)
    if not head:
        return
    compression = compression_of(path, head, section)
    if compression == "zip":
        yield from _archived(path, raw, section)
        return

    def reopen() -> Any:
        raw.seek(0)
        return _decompressed(raw, compression)

    yield _member(path, reopen, section)


def first_bytes(path: str, raw: BinaryIO, section: SourceFiles, size: int) -> Iterator[tuple[str, bytes]]:
    """Yields the name and the first `size` plain bytes of the stored file `raw`, or of each file in an archive."""
    compression = compression_of(path, raw.read(_HEAD), section)
    raw.seek(0)
    if compression != "zip":
        yield path, _decompressed(raw, compression).read(size)
        return
    archive = zipfile.ZipFile(raw)
    for name in sorted(info.filename for info in archive.infolist() if not info.is_dir()):
        if not name.startswith("__MACOSX/"):
            with archive.open(name) as stream:
                inner = compression_of(name, stream.read(_HEAD), SourceFiles(files=("*",)))
            yield f"{path}/{name}", _decompressed(archive.open(name), inner).read(size)


def compression_of(name: str, head: bytes, section: SourceFiles) -> str | None:
    """Returns how a file that begins with `head` is compressed: as declared, by its name, or by these bytes."""
    if section.compression:
        return None if section.compression == "none" else section.compression
    return format_of(name)[1] or next((compression for magic, compression in _MAGIC if head.startswith(magic)), None)


def _archived(path: str, raw: BinaryIO, section: SourceFiles) -> Iterator[Member]:
    archive = zipfile.ZipFile(raw)
    names = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    names = [name for name in names if not name.startswith("__MACOSX/") and (section.format or format_of(name)[0])]
    if not names:
        raise IngestError(f"{path}: holds no file whose name tells its format; expected one, or a declared `format`")
    for name in names:
        with archive.open(name) as stream:
            head = stream.read(_HEAD)
        if not head:
            continue
        inner = format_of(name)[1] or next(
            (compression for magic, compression in _MAGIC if head.startswith(magic)), None
        )

        def reopen(name: str = name, inner: str | None = inner) -> Any:
            return _decompressed(archive.open(name), inner)

        yield _member(f"{path}/{name}", reopen, section)


def _member(name: str, reopen: Callable[[], Any], section: SourceFiles) -> Member:
    head = reopen().read(_HEAD)
    file_format = section.format or format_of(name)[0]
    binary = "parquet" if head.startswith(_PARQUET) else "avro" if head.startswith(_AVRO) else None
    if file_format is None:
        file_format = binary
    if file_format is None:
        raise IngestError(f"{name}: unknown format, expected a name that tells it, or a declared `format`")
    if binary and binary != file_format:
        raise IngestError(f"{name}: can't be read as {file_format}: it holds {binary}; expected `format: {binary}`")
    if file_format in ("csv", "jsonl"):
        if section.encoding and codecs.lookup(section.encoding).name != "utf-8":
            return Member(
                name, file_format, lambda: io.BufferedReader(_Recoded(name, reopen(), str(section.encoding)), 1 << 20)
            )
        zeros = max(head[::2].count(0), head[1::2].count(0))
        if head.startswith(_BYTE_ORDER_MARKS) or zeros > len(head) // 4:
            raise IngestError(f"{name}: looks like UTF-16, expected UTF-8 or a declared `encoding: utf-16`")
    return Member(name, file_format, reopen)


def _decompressed(raw: Any, compression: str | None) -> Any:
    if compression == "gz":
        return igzip.IGzipFile(fileobj=raw)
    if compression == "zstd":
        return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(_LeftOpen(raw), mode="r"), "zstd"))
    return bz2.BZ2File(raw) if compression == "bz2" else raw


class _LeftOpen:
    """A stream that Arrow reads and doesn't close: it is read again from its start."""

    closed = False

    def __init__(self, stream: Any):
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)

    def close(self) -> None:
        self.closed = True


class _Recoded(io.RawIOBase):
    """The text of a stream in UTF-8, whatever `encoding` it is stored in."""

    def __init__(self, name: str, stream: Any, encoding: str):
        self._name, self._stream, self._encoding = name, stream, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        pieces = [self._ready]
        count = len(self._ready)
        while size < 0 or count < size:
            stored = self._stream.read(1 << 20)
            pieces.append(self._utf8(stored))
            count += len(pieces[-1])
            if not stored:
                break
        data = b"".join(pieces)
        size = len(data) if size < 0 else size
        self._ready = data[size:]
        return data[:size]

    def _utf8(self, stored: bytes) -> bytes:
        try:
            return self._decoder.decode(stored, final=not stored).encode()
        except UnicodeError as error:
            raise IngestError(f"{self._name}: can't be decoded as {self._encoding}: {error}") from None
