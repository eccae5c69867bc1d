"""How files are written, from their first bytes: what a spec says of them beside their names."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ingest.draft.words import words_of
from ingest.errors import IngestError
from ingest.sources import format_of
from ingest.values import MissingWords

_SEPARATORS = ",\t;|\x01 "
_SHOWN_NAMES = {"\t": "a tab", " ": "a space", "\x01": "the character \\x01"}
_LINES = 100
_COMPRESSED = ((b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"PK\x03\x04", "zip"))
_BINARY = ((b"PAR1", "parquet"), (b"Obj\x01", "avro"))
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TIME = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}")
_HEAD_WORDS = ("id", "user", "item", "time", "timestamp", "event", "rating", "name", "date")


def form_of(name: str, stored: bytes, plain: bytes) -> tuple[dict[str, Any], list[str]]:
    """Returns the keys of a spec's section that a file needs beside `files`, and why it needs them.

    Args:
      name: the file's, which tells format and compression where it can.
      stored: its first bytes.
      plain: its first bytes after decompression, as many as are at hand.

    Raises:
      IngestError: the bytes are no rows.
    """
    keys: dict[str, Any] = {}
    why: list[str] = []
    by_name, compression = format_of(name)
    stored_as = next((codec for magic, codec in _COMPRESSED if stored.startswith(magic)), "none")
    if compression and stored_as != compression:
        keys["compression"] = stored_as
        why.append(f"the name says {compression}, the bytes {'nothing of it' if stored_as == 'none' else stored_as}")
    binary = next((binary_format for magic, binary_format in _BINARY if plain.startswith(magic)), None)
    encoding = None if binary else encoding_of(plain)
    text = "" if binary else _text(name, plain, encoding)
    file_format = binary or ("jsonl" if is_json(text) else "csv")
    if file_format != by_name:
        keys["format"] = file_format
        why.append("the name doesn't tell the format" if by_name is None else f"the name says {by_name}")
    if encoding:
        keys["encoding"] = encoding
        why.append(f"the text isn't UTF-8; {encoding} is a guess")
    if file_format == "csv":
        separator = separator_of(name, text)
        if separator != ("\t" if re.search(r"\.tsv(\.|$)", name.lower()) else ","):
            keys["separator"] = separator
            why.append(f"cells are separated by {_SHOWN_NAMES.get(separator, repr(separator))}")
        if not has_header(rows_of(text, separator)):
            keys["header"] = False
            why.append("the first line is a row like the others: there is no header")
    return keys, why


def encoding_of(plain: bytes) -> str | None:
    """Returns the encoding of a text's first bytes; None is UTF-8."""
    if plain.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = plain[::2].count(0), plain[1::2].count(0)
    if max(even, odd) > len(plain) // 4:
        return "utf-16-be" if even > odd else "utf-16-le"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(plain)
    except UnicodeDecodeError:
        # Windows writes quotes and dashes where latin-1 has control characters.
        return "cp1252" if re.search(rb"[\x80-\x9f]", plain) and _decodes(plain, "cp1252") else "latin-1"
    return None


def _decodes(plain: bytes, encoding: str) -> bool:
    try:
        plain.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _text(name: str, plain: bytes, encoding: str | None) -> str:
    try:
        text = codecs.getincrementaldecoder(encoding or "utf-8")().decode(plain).removeprefix("\ufeff")
    except UnicodeDecodeError:
        # Many zeros looked like UTF-16.
        text = "\0"
    if "\0" in text[:_LINES]:
        raise IngestError(f"{name}: holds neither text nor Parquet or Avro")
    return text


def is_json(text: str) -> bool:
    """Returns whether a text begins as an object, or as a list of them."""
    return re.match(r'\s*(\[\s*)?\{\s*("|\}|$)', text) is not None


def separator_of(name: str, text: str) -> str:
    """Returns the character between the cells: the one that gives most lines the same number of cells.

    Raises:
      IngestError: cells are separated by two characters.
    """
    lines = [line for line in text.splitlines()[:_LINES] if line.strip()]
    if len(lines) > 1 and all("::" in line for line in lines) and len({line.count("::") for line in lines}) == 1:
        raise IngestError(
            f"{name}: cells are separated by '::', expected one character; rewrite it, such as by "
            f"`sed 's/::/\\t/g' {name} > {name}.tsv`"
        )
    scores = {}
    for separator in _SEPARATORS:
        widths = Counter(len(row) for row in rows_of(text, separator))
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(1, 0))
        if width > 1:
            scores[separator] = (round(count / sum(widths.values()), 1), width)
    # A comma of a sentence, or a space, separates other texts as well.
    best = max(scores, key=lambda char: (*scores[char], -_SEPARATORS.index(char)), default=",")
    return "," if scores.get(",", (0, 0))[0] >= scores.get(best, (0, 0))[0] and best == " " else best


def rows_of(text: str, separator: str) -> list[list[str]]:
    """Returns the cells of the first lines; the last one may be cut."""
    lines = text.splitlines(keepends=True)[: _LINES + 1]
    try:
        rows = list(csv.reader(io.StringIO("".join(lines), newline=""), delimiter=separator))
    except csv.Error:
        rows = [line.split(separator) for line in lines]
    rows = [row for row in rows if row]
    return rows[:-1] if len(rows) > 2 else rows


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Returns whether the first of the rows names the columns: no number or time is among its cells, and no repeat.

    A first row of texts alone is none where one of them stands in its column again and no cell is a usual name.
    """
    if not rows:
        return True
    first = [cell.strip() for cell in rows[0]]
    values = [cell for cell in first if cell not in MissingWords().ids]
    if len(set(first)) < len(first) or any(_NUMBER.fullmatch(cell) or _TIME.match(cell) for cell in values):
        return False
    if any(word in _HEAD_WORDS for cell in first for word in words_of(cell)):
        return True
    below = [row for row in rows[1:] if len(row) == len(first)]
    return not any(cell and cell == row[index].strip() for row in below for index, cell in enumerate(first))
