"""The files that a spec names: which they are, what they hold, and a fingerprint of their content."""

import hashlib
import os
import posixpath
from dataclasses import dataclass

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from components.interaction_example_gen.errors import IngestError
from schema.spec import RankingSpec

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet"}
COMPRESSIONS = {".gz": "gz", ".bz2": "bz2", ".zip": "zip"}
# What a compressed byte of a log holds, roughly; only the number of shards depends on it.
_EXPANSION = 6


@dataclass(frozen=True)
class SourceFile:
    """One file of a source (`log`, `users` or `items`); `size` in bytes as stored."""

    source: str
    index: int
    path: str
    size: int


def format_of(name: str) -> tuple[str | None, str | None]:
    """The format (csv, jsonl, parquet) and compression (gz, bz2, zip) by a file's name; None where it has none."""
    stem, extension = posixpath.splitext(name.lower())
    compression = COMPRESSIONS.get(extension)
    if compression:
        extension = posixpath.splitext(stem)[1]
    return FORMATS.get(extension), compression


def match_files(spec: RankingSpec, logs: str) -> tuple[SourceFile, ...]:
    """Every file under the folder `logs` that the spec's log, users and items patterns name, in a fixed order.

    Names that begin with `_` or `.` are skipped, as Beam and Spark write such files beside the data.

    Raises:
      IngestError: a pattern matches nothing, or a file is of no known format.
    """
    found: list[SourceFile] = []
    for source in ("log", "users", "items"):
        declared = getattr(spec, source)
        if declared is None:
            continue
        matched: dict[str, int] = {}
        for pattern in declared.files:
            here = _match(logs, pattern)
            if not here:
                raise IngestError(
                    f"{source}.files: the pattern {pattern!r} matches no file in {logs}"
                    + ("" if _exists(logs) else ", and that folder does not exist")
                )
            matched.update(here)
        for index, path in enumerate(sorted(matched)):
            kind, compression = format_of(path)
            if kind is None and compression != "zip":
                known = ", ".join(FORMATS) + "; plain or with " + ", ".join(COMPRESSIONS)
                raise IngestError(f"{path}: unknown format, expected a name that ends in one of {known}")
            found.append(SourceFile(source, index, path, matched[path]))
    return tuple(found)


def fingerprint(spec: RankingSpec, logs: str) -> str:
    """A digest of the matched files' names and contents, so that TFX's cache notices a file that changed.

    Local files are read and hashed, so that rewriting the same bytes changes nothing and changing one byte of a file of
    the same size and time does; of remote files the store's checksum, size and time are taken.
    """
    digest = hashlib.sha256()
    for file in match_files(spec, logs):
        digest.update(f"{file.source}\0{posixpath.basename(file.path)}\0{file.size}\0".encode())
        if os.path.isfile(file.path):
            try:
                with open(file.path, "rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
            except OSError as error:
                raise IngestError(f"{file.path}: can't be read: {error.strerror or error}") from None
        else:
            changed = FileSystems.match([file.path])[0].metadata_list[0].last_updated_in_seconds
            digest.update(f"{FileSystems.checksum(file.path)}\0{changed}".encode())
    return digest.hexdigest()


def shard_count(files: tuple[SourceFile, ...], bytes_per_shard: int = 8 << 20, most: int = 5000) -> int:
    """How many buckets the users are spread over: each holds about `bytes_per_shard` of plain text."""
    total = sum(
        file.size * (_EXPANSION if format_of(file.path)[1] or format_of(file.path)[0] == "parquet" else 1)
        for file in files
        if file.source == "log"
    )
    return min(max(1, -(-total // bytes_per_shard)), most)


def open_raw(path: str):
    """The file's bytes as stored, seekable."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def _match(logs: str, pattern: str) -> dict[str, int]:
    try:
        metadata = FileSystems.match([FileSystems.join(logs, pattern)])[0].metadata_list
    except BeamIOError as error:
        raise IngestError(f"{logs}: can't be listed: {error}") from None
    return {item.path: item.size_in_bytes for item in metadata if posixpath.basename(item.path)[:1] not in ("_", ".")}


def _exists(path: str) -> bool:
    try:
        return FileSystems.exists(path)
    except BeamIOError:
        return False
