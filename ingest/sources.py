"""The files that a spec names: which they are, what they hold, and a fingerprint of their content."""

import hashlib
import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

from ingest.errors import IngestError
from schema.files import SourceFiles
from schema.spec import RankingSpec

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".avro": "avro",
}
COMPRESSIONS = {".gz": "gz", ".bz2": "bz2", ".zip": "zip", ".zst": "zstd", ".zstd": "zstd"}
# What a compressed byte of a log holds, roughly; only the number of shards depends on it.
_EXPANSION = 6
BYTES_PER_SHARD = 8 << 20


@dataclass(frozen=True)
class SourceFile:
    """One file of a source (`log`, `users`, `items`, or `history` of earlier days); `size` in bytes as stored.

    `day` is that of the daily folder that it lies in, if any.
    """

    source: str
    index: int
    path: str
    size: int
    day: date | None = None

    @classmethod
    def of(
        cls, source: str, index: int, file: FileMetadata, section: SourceFiles, day: date | None = None
    ) -> "SourceFile":
        """Raises IngestError where neither the file's name nor the source's section tells a known format."""
        file_format, compression = format_of(file.path)
        if file_format is None and section.format is None and compression != "zip":
            formats = ", ".join(FORMATS) + "; plain or with " + ", ".join(COMPRESSIONS)
            raise IngestError(
                f"{file.path}: unknown format, expected a name that ends in one of {formats}; or declare "
                f"`{source}.format`, one of csv, jsonl, parquet, avro"
            )
        return cls(source, index, file.path, file.size_in_bytes, day)


def format_of(name: str) -> tuple[str | None, str | None]:
    """Returns format (csv, jsonl, …) and compression (gz, bz2, zip, zstd) by a file's name; None for neither."""
    stem, extension = posixpath.splitext(name.lower())
    compression = COMPRESSIONS.get(extension)
    if compression:
        extension = posixpath.splitext(stem)[1]
    return FORMATS.get(extension), compression


def match_files(spec: RankingSpec, logs: str) -> tuple[SourceFile, ...]:
    """Lists every file under the folder `logs` that the spec's log, users and items patterns name, in a fixed order.

    Names that begin with `_` or `.` are skipped, as Beam and Spark write such files beside the data.

    Raises:
      IngestError: a pattern matches nothing, or a file is of no known format.
    """
    declared = {source: getattr(spec, source) for source in ("log", "users", "items")}
    return tuple(
        file
        for source, section in declared.items()
        if section is not None
        for file in source_files(source, logs, section)
    )


def source_files(source: str, logs: str, section: SourceFiles) -> list[SourceFile]:
    """Returns the files of one source, sorted by path. Raises as `match_files` does."""
    file_by_path: dict[str, FileMetadata] = {}
    for pattern in section.files:
        here = matched(logs, pattern)
        if not here:
            raise IngestError(
                f"{source}.files: the pattern {pattern!r} matches no file in {logs}" + _why_not(logs, pattern)
            )
        file_by_path.update({file.path: file for file in here})
    return [
        SourceFile.of(source, index, file_by_path[path], section) for index, path in enumerate(sorted(file_by_path))
    ]


def _why_not(logs: str, pattern: str) -> str:
    if not exists(logs):
        return ", and that folder does not exist"
    within = matched(logs, f"*/{pattern}")
    return f", but there is {within[0].path}: daily folders need a window, such as 7d:2026-11-25" if within else ""


def fingerprint(spec: RankingSpec, logs: str) -> str:
    """Returns a digest of the matched files' names and contents, so that TFX's cache notices a changed file."""
    return digest_of(match_files(spec, logs))


def digest_of(files: Iterable[SourceFile]) -> str:
    """Returns a digest of the files' names and contents."""
    digest = hashlib.sha256()
    for file in files:
        name = posixpath.basename(file.path)
        digest.update(f"{file.source}\0{file.day}\0{name}\0{file.size}\0{content_digest(file.path)}".encode())
    return digest.hexdigest()


def content_digest(path: str) -> str:
    """Returns a digest of what a file holds.

    A local file is read and hashed, so that rewriting the same bytes changes nothing and changing one byte of a file of
    the same size and time does; of a remote file the store's checksum, size and time are taken.

    Raises:
      IngestError: the file can't be read.
    """
    if os.path.isfile(path):
        try:
            with open(path, "rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise IngestError(f"{path}: can't be read: {error.strerror or error}") from None
    changed = FileSystems.match([path])[0].metadata_list[0].last_updated_in_seconds
    return f"{FileSystems.checksum(path)} {changed}"


def refuse_changed(file: SourceFile) -> None:
    """Refuses a local file that has grown, shrunk or gone since it was listed: its last rows may be cut, or missing.

    Raises:
      IngestError: its size is another one.
    """
    if FileSystems.get_scheme(file.path) is not None:
        return
    try:
        size = os.stat(file.path).st_size
    except OSError as error:
        raise IngestError(f"{file.path}: went away while it was read: {error.strerror or error}") from None
    if size != file.size:
        raise IngestError(
            f"{file.path}: changed while it was read, from {file.size:,} to {size:,} bytes; a row may be cut in two. "
            "Run again once it is written"
        )


def plain_bytes(file: SourceFile) -> int:
    """Returns how many bytes of plain text a file holds, roughly."""
    extension, compression = format_of(file.path)
    return file.size * (_EXPANSION if compression or extension in ("parquet", "avro") else 1)


def shard_count(files: tuple[SourceFile, ...], bytes_per_shard: int = BYTES_PER_SHARD, most: int = 5000) -> int:
    """Returns how many buckets the users are spread over: each holds about `bytes_per_shard` of plain text."""
    total = sum(plain_bytes(file) for file in files if file.source == "log")
    return min(max(1, -(-total // bytes_per_shard)), most)


def open_raw(path: str):
    """Opens the file's bytes as stored, seekable."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def matched(logs: str, pattern: str) -> list[FileMetadata]:
    """Returns the files in the folder `logs` that a pattern names, but those that begin with `_` or `.`.

    The folder is taken as it is written: only the pattern has wildcards, of which `**/` is any number of folders, none
    too. Links to files and to folders are followed.
    """
    if FileSystems.get_scheme(logs) is None:
        return _matched_here(logs, pattern)
    try:
        results = FileSystems.match([FileSystems.join(logs, name) for name in _with_and_without_folders(pattern)])
    except BeamIOError as error:
        raise IngestError(f"{logs}: can't be listed: {error}") from None
    files = {file.path: file for result in results for file in result.metadata_list}
    return [file for file in files.values() if _is_data(file.path)]


def _with_and_without_folders(pattern: str) -> list[str]:
    """Returns what Beam's `**/`, which is one folder or more, has to match for any number of them."""
    return [*dict.fromkeys([pattern, pattern.replace("**/", "")])]


def _matched_here(logs: str, pattern: str) -> list[FileMetadata]:
    folder, name = _literal_start(logs, pattern)
    if os.path.lexists(os.path.join(folder, name)):
        paths: Iterable[str] = [os.path.join(folder, name)] if not os.path.isdir(os.path.join(folder, name)) else []
    else:
        translate = FileSystems.get_filesystem(folder).translate_pattern
        # A set that begins with `[` (`[[]1]` names the folder `[1]`) is one to Python as well, if it is escaped.
        translated = [translate(variant).replace("[[", r"[\[") for variant in _with_and_without_folders(name)]
        expressions = [re.compile(expression) for expression in translated]
        depth = None if "**" in name else name.count("/")
        paths = (
            path
            for path in _below(folder, depth, ())
            if any(expression.fullmatch(os.path.relpath(path, folder)) for expression in expressions)
        )
    return [_metadata(path) for path in paths if _is_data(path)]


def _literal_start(logs: str, pattern: str) -> tuple[str, str]:
    """Returns the folder from which on a pattern has wildcards, and the rest of the pattern."""
    folders, names = (
        ("/" if os.path.isabs(pattern) else logs),
        [step for step in pattern.split("/") if step not in ("", ".")],
    )
    while len(names) > 1 and not re.search(r"[*?\[]", names[0]):
        folders = os.path.join(folders, names.pop(0))
    return folders, "/".join(names)


def _below(folder: str, depth: int | None, above: tuple[str, ...]) -> Iterator[str]:
    """Yields the files below a folder, at most `depth` folders deep; a link to a folder above it is not entered."""
    here = os.path.realpath(folder)
    if here in above:
        return
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise IngestError(f"{folder}: can't be listed: {error.strerror or error}") from None
    for name in names:
        path = os.path.join(folder, name)
        if not os.path.isdir(path):
            yield path
        elif depth is None or depth > 0:
            yield from _below(path, None if depth is None else depth - 1, (*above, here))


def _metadata(path: str) -> FileMetadata:
    """Returns what a listing tells of a file; of a link that leads nowhere too, which is named when it is read."""
    try:
        status = os.stat(path)
    except OSError:
        return FileMetadata(path, 0, 0.0)
    return FileMetadata(path, status.st_size, status.st_mtime)


def _is_data(path: str) -> bool:
    return posixpath.basename(path)[:1] not in ("_", ".")


def exists(path: str) -> bool:
    try:
        return FileSystems.exists(path)
    except BeamIOError:
        return False
