"""The columns that a file has, before anything is read of them."""

from collections.abc import Iterable
from typing import Any

import fastavro
import pyarrow as pa

from ingest.csv_rows import header_of
from ingest.errors import IngestError
from ingest.formats import opened, partitions_of
from ingest.json_rows import fields_of
from ingest.streams import Member, members
from ingest.typed_rows import flat, open_parquet
from schema.files import SourceFiles


def columns_in(path: str, section: SourceFiles) -> dict[str, str]:
    """Returns the columns of a file in their order, those of its folders last, each with why it can't be read.

    The reason is empty where it can. A file without rows has none.

    Raises:
      IngestError: the file can't be read.
    """
    columns: dict[str, str] = {}
    with opened(path, section) as raw:
        for member in members(path, raw, section):
            for column, reason in _columns(member, section):
                columns.setdefault(column, reason)
    return columns | {name: "" for name in partitions_of(path) if name not in columns} if columns else {}


def _columns(member: Member, section: SourceFiles) -> Iterable[tuple[str, str]]:
    if member.file_format == "csv":
        return ((name, "") for name in header_of(member.name, member.reopen(), section))
    if member.file_format == "jsonl":
        return ((name, "holds objects" if nested else "") for name, nested in fields_of(member.name, member.reopen))
    if member.file_format == "parquet":
        return ((field.name, _why_not(field)) for field in open_parquet(member.reopen()).schema_arrow)
    return _avro_columns(member.reopen())


def _why_not(field: pa.Field) -> str:
    try:
        flat("", field.name, pa.array([], field.type), {field.name: ","})
    except (IngestError, pa.ArrowException):
        return f"holds {field.type}"
    return ""


def _avro_columns(stream: Any) -> Iterable[tuple[str, str]]:
    fields: Any = fastavro.reader(stream).writer_schema
    for field in fields["fields"]:
        types = field["type"] if isinstance(field["type"], list) else [field["type"]]
        nested = [kind["type"] for kind in types if isinstance(kind, dict) and kind["type"] in ("record", "map")]
        yield field["name"], f"holds a {nested[0]}" if nested else ""
