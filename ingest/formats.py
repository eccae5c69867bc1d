"""Files of any format -> Arrow batches of the columns to read, each row with its number, and the unreadable rows."""

import csv
import os
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from isal import isal_zlib

from ingest.csv_rows import read_csv
from ingest.errors import IngestError
from ingest.json_rows import read_json
from ingest.raw import BadRow, RawBatch, Separators
from ingest.sources import format_of, open_raw
from ingest.streams import Member, members
from ingest.typed_rows import read_avro, read_parquet
from schema.files import SourceFiles

__all__ = ["BadRow", "RawBatch", "opened", "partitions_of", "read_file"]

_UNDECLARED = SourceFiles(files=("*",))
_PARTITION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_UNREADABLE = (
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    KeyError,
    TypeError,
    csv.Error,
    zlib.error,
    zipfile.BadZipFile,
    isal_zlib.error,
    pa.ArrowException,
)


def read_file(
    path: str,
    columns: Mapping[str, str],
    separators: Separators | None = None,
    section: SourceFiles = _UNDECLARED,
) -> Iterator[RawBatch]:
    """Yields the `columns` of the file at `path`, batch by batch.

    A column that the file lacks is one of its folders' (`dt=2026-01-01/`), or is missing in all its rows.

    Args:
      columns: what reads each column, by the column's name; the text goes into what is said where a file lacks it.
      separators: the columns that may hold lists, and what stands between their values in text.
      section: how the files of the source are written.

    Raises:
      IngestError: the file is cut short, isn't of its format, or has a column twice.
    """
    partitions = {name: value for name, value in partitions_of(path).items() if name in columns}
    with opened(path, section) as raw:
        size = max(raw.seek(0, os.SEEK_END), 1)
        raw.seek(0)
        for member in members(path, raw, section):
            for batch in _batches(member, columns, separators or {}, section):
                batch = replace(batch, share=batch.share or raw.tell() / size)
                yield _with_partitions(batch, partitions) if partitions else batch


@contextmanager
def opened(path: str, section: SourceFiles) -> Iterator[BinaryIO]:
    """Opens a file's stored bytes; what goes wrong while they are read becomes an IngestError that names the file."""
    file_format, compression = section.format or format_of(path)[0], section.compression or format_of(path)[1]
    try:
        with open_raw(path) as raw:
            yield raw
    except IngestError:
        raise
    except _UNREADABLE as error:  # type: ignore[misc]
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise IngestError(f"{path}: can't be opened: {error.strerror}") from None
        hint = "; is it cut short?" if compression or file_format in ("parquet", "avro") else ""
        raise IngestError(f"{path}: can't be read as {compression or file_format}: {_one_line(error)}{hint}") from None


def _batches(
    member: Member, columns: Mapping[str, str], separators: Separators, section: SourceFiles
) -> Iterator[RawBatch]:
    if member.file_format == "csv":
        return read_csv(member.name, member.reopen, columns, section)
    reader = {"jsonl": read_json, "parquet": read_parquet, "avro": read_avro}[member.file_format]
    return reader(member.name, member.reopen, columns, separators)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def partitions_of(path: str) -> dict[str, str | None]:
    """Returns the columns that the folders of a path name, as Hive does: `dt=2026-01-01/hour=03/`."""
    steps = (_PARTITION.fullmatch(step) for step in posixpath.dirname(path).split("/"))
    values = {match[1]: unquote(match[2]) for match in steps if match}
    return {name: None if value == _NO_PARTITION else value for name, value in values.items()}


def _with_partitions(batch: RawBatch, partitions: Mapping[str, str | None]) -> RawBatch:
    columns = dict(batch.columns)
    for name, value in partitions.items():
        if columns[name].null_count == len(columns[name]):
            columns[name] = pa.repeat(pa.scalar(value, pa.string()), len(columns[name]))
        elif pa.types.is_string(columns[name].type):
            columns[name] = pc.fill_null(columns[name], value) if value is not None else columns[name]
    absent = {name: sentence for name, sentence in batch.absent.items() if name not in partitions}
    return replace(batch, columns=columns, absent=absent)
