"""Reads a file of candidates: item ids as text, CSV or JSON lines, in the order in which they are asked about."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from ingest.rank_request import RequestError
from schema.columns import ITEM_ID
from schema.spec import RankingSpec


def read_candidates(spec: RankingSpec, path: Path) -> list[str]:
    """Returns the item ids in a file, one a line; empty lines are skipped.

    In CSV and JSON objects (`.csv`, `.jsonl`, `.ndjson`) they are in the column that the items table, the log or an
    example calls the item; a line of JSON may also be the id itself. Any other file is text.

    Raises:
      RequestError: the file can't be read, a line holds no id, or a CSV file has no such column.
    """
    readers = {".csv": _from_csv, ".jsonl": _from_json, ".ndjson": _from_json}
    names = [*([spec.items.key] if spec.items else []), spec.log.item, ITEM_ID]
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(readers.get(path.suffix.lower(), _from_text)(path, file, names))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from None


def _from_text(_: Path, lines: Iterator[str], names: list[str]) -> Iterator[str]:
    return (line.strip() for line in lines if line.strip())


def _from_csv(path: Path, lines: Iterator[str], names: list[str]) -> Iterator[str]:
    rows = csv.DictReader(lines)
    columns = list(rows.fieldnames or [])
    column = next((name for name in names if name in columns), None)
    if column is None:
        raise RequestError(f"{path}: expected a column {' or '.join(dict.fromkeys(names))}, got the columns {columns}")
    for row in rows:
        if not row[column]:
            raise RequestError(f"{path} line {rows.line_num}: {column} is empty")
        yield row[column]


def _from_json(path: Path, lines: Iterator[str], names: list[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise RequestError(f"{path} line {number}: not JSON: {error}") from None
        if isinstance(value, dict):
            value = next((value[name] for name in names if name in value), None)
        if isinstance(value, bool) or not isinstance(value, str | int):
            expected = f"an id, or an object with {' or '.join(dict.fromkeys(names))}"
            raise RequestError(f"{path} line {number}: expected {expected}, got {line.strip()[:80]!r}")
        yield str(value)
