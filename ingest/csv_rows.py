"""CSV -> rows. A row is a line, or several where a cell in quotes goes over them; a stray quote costs its own line.

Blocks of lines go to Arrow's reader. It takes a quote that nothing closes for the start of a cell with the next rows in
it, so that quotes are looked at before: a line that leaves one open is joined with those below if these close it as a
writer of CSV does, and if the lines are no rows themselves. Otherwise it is left out alone. What Arrow returns is
counted against the lines: rows can't vanish.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ingest.errors import IngestError
from ingest.raw import BadRow, RawBatch, require
from schema.files import SourceFiles

_BLOCK = 16 << 20
# The longest row: beyond it, a quote that is still open is a stray one.
_LONGEST_ROW = 8 << 20
_NO_LINE = 256 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONE_RETURN = re.compile(rb"\r(?!\n)")
_GUESSED_SEPARATORS = ";\t|"


@dataclass(frozen=True)
class Dialect:
    """How cells stand in a line: what separates them, and whether quotes may hold them."""

    separator: str
    quotes: bool = True

    @classmethod
    def of(cls, name: str, section: SourceFiles) -> "Dialect":
        by_name = "\t" if re.search(r"\.tsv(\.|$)", name.lower()) else ","
        return cls(section.separator or by_name, section.quotes)


def read_csv(name: str, reopen: Any, columns: Mapping[str, str], section: SourceFiles) -> Iterator[RawBatch]:
    """Yields the `columns` of a CSV file."""
    dialect = Dialect.of(name, section)
    blocks = _blocks(name, reopen())
    header, first_row = list(section.columns), 1
    rest = b""
    if section.header:
        rest = next(blocks, b"").lstrip(b"\r\n")
        if not rest.strip():
            return
        header, rest = _header(name, rest, dialect)
        first_row = 2
    absent = require(name, header, columns, _hint(header, dialect) if section.header else "")
    places = {column: header.index(column) for column in columns if column in header}
    reader = _Rows(name, dialect, len(header), places, first_row)
    any_batch = False
    for batch in reader.batches(rest, blocks):
        missing = {column: pa.nulls(len(batch.rows), pa.binary()) for column in absent}
        any_batch = True
        yield RawBatch(name, batch.rows, batch.columns | missing, batch.bad, absent)
    if not any_batch:
        return


def header_of(name: str, stream: Any, section: SourceFiles) -> list[str]:
    """Returns the names of a CSV file's columns; none where it has no line."""
    if not section.header:
        return list(section.columns)
    start = next(_blocks(name, stream), b"").lstrip(b"\r\n")
    return _header(name, start, Dialect.of(name, section))[0] if start.strip() else []


def _hint(header: list[str], dialect: Dialect) -> str:
    separator = next((char for char in _GUESSED_SEPARATORS if char != dialect.separator and char in header[0]), None)
    if len(header) == 1 and separator:
        return f"; is the separator {separator!r}? Then declare `separator: {separator!r}`"
    return "; does it have no header? Then declare `header: false` and `columns`"


def _header(name: str, block: bytes, dialect: Dialect) -> tuple[list[str], bytes]:
    """Returns the names in the first row, and what follows it."""
    text = block[: block.find(b"\n") + 1]
    if dialect.quotes and not re.match(_complete(dialect.separator), text, re.DOTALL):
        closing = re.match(rb'[^"]*(?:"[^"]*"[^"\n]*)*\n', block)
        text = closing[0] if closing else text
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if dialect.quotes else csv.QUOTE_NONE
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        raise IngestError(f"{name}: the header is not UTF-8; expected it, or a declared `encoding: latin-1`") from None
    try:
        names = next(csv.reader(io.StringIO(decoded, newline=""), delimiter=dialect.separator, quoting=quoting), [])
    except csv.Error as error:
        raise IngestError(f"{name}: the header can't be read: {error}") from None
    return names, block[len(text) :]


def _blocks(name: str, stream: Any) -> Iterator[bytes]:
    """Yields the stream in blocks of whole lines, each of which ends with a newline (a lone return is one)."""
    rest = b""
    is_first = True
    while data := stream.read(_BLOCK):
        data = rest + data
        if is_first:
            data, is_first = data.removeprefix(_BYTE_ORDER_MARK), False
        end = data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, len(data) - 1) + 1
        rest = data[end:]
        if len(rest) > _NO_LINE:
            raise IngestError(f"{name}: a line is longer than {_NO_LINE >> 20} MiB; is it a file of lines?")
        if end:
            yield _newlines(data[:end])
    if rest:
        yield _newlines(rest if rest.endswith((b"\n", b"\r")) else rest + b"\n")


def _newlines(block: bytes) -> bytes:
    if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
        return _LONE_RETURN.sub(b"\n", block)
    return block


class _Rows:
    """The rows of a file, block by block; `row` is the number of the next one."""

    def __init__(self, name: str, dialect: Dialect, width: int, places: Mapping[str, int], row: int):
        self._name, self._dialect, self._width, self._places = name, dialect, width, places
        self._row = row

    def batches(self, first: bytes, blocks: Iterator[bytes]) -> Iterator[RawBatch]:
        """Yields the rows of `first` and of the blocks after it."""
        rest = first
        for block in blocks:
            batch, rest = self._batch(rest + block if rest else block, is_last=False)
            yield batch
        if rest:
            yield self._batch(rest, is_last=True)[0]

    def _batch(self, block: bytes, is_last: bool) -> tuple[RawBatch, bytes]:
        """Returns the rows of a block, and the end of the block that needs the next one: a row with an open quote."""
        if self._dialect.quotes and b'"' in block:
            return self._quoted(block, is_last)
        return self._parsed(block, np.arange(block.count(b"\n")) + self._row, [], None, False), b""

    def _quoted(self, block: bytes, is_last: bool) -> tuple[RawBatch, bytes]:
        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data == 10) + 1
        lines = _lines(block, ends)
        has_quote = pc.match_substring(lines, '"')
        with_quote = np.flatnonzero(has_quote.to_numpy(zero_copy_only=False))
        pattern = _complete(self._dialect.separator).decode("latin-1")
        complete = pc.match_substring_regex(lines.filter(has_quote), pattern).to_numpy(zero_copy_only=False)
        suspects = with_quote[~complete]
        begins = ~_is_empty(block, ends)
        stray: list[int] = []
        joined = False
        stop = len(ends)
        after = 0
        for line in suspects.tolist():
            if line < after:
                continue
            last = self._last_line(lines, line, with_quote, is_last, int(ends[-1] - ends[line]))
            if last is None:
                stray.append(line)
            elif last < 0:
                stop = line
                break
            else:
                begins[line + 1 : last + 1] = False
                joined, after = True, last + 1
        cut = int(ends[stop - 1]) if stop else 0
        begins = begins[:stop]
        numbers = np.cumsum(begins) - 1 + self._row
        next_row = self._row + int(begins.sum())
        reason = "a quote is not closed"
        bad = [BadRow(int(numbers[line]), reason, reason, _text(lines[line].as_py())) for line in stray]
        begins[stray] = False
        usable, rest = block[:cut], block[cut:]
        if stray:
            edges = np.concatenate(([0], ends))
            pieces, start = [], 0
            for line in stray:
                pieces.append(block[start : edges[line]])
                start = int(edges[line + 1])
            usable = b"".join([*pieces, block[start:cut]])
        return self._parsed(usable, numbers[begins], bad, next_row, joined), rest

    def _last_line(
        self, lines: pa.Array, line: int, with_quote: np.ndarray, is_last: bool, bytes_left: int
    ) -> int | None:
        """Returns the line that closes the quote left open by a line; None if it is a stray one, -1 if not yet told."""
        closes, goes_on = _continuations(self._dialect.separator)
        for candidate in with_quote[np.searchsorted(with_quote, line + 1) :].tolist():
            text = lines[candidate].as_py()
            if closes.match(text):
                rows = [row.as_py() for row in lines.slice(line, candidate - line + 1)]
                return None if self._are_rows(rows) else candidate
            if not goes_on.match(text):
                return None
        return None if is_last or bytes_left > _LONGEST_ROW else -1

    def _are_rows(self, lines: list[bytes]) -> bool:
        """Returns whether lines that a quote would join look like rows of their own: they have as many cells."""
        separator = self._dialect.separator.encode()
        like_rows = sum(line.count(separator) + 1 == self._width for line in lines)
        if self._width < 4 or len(lines) == 2:
            return self._width > 1 and like_rows == len(lines) and len(lines) + self._width > 4
        return 2 * like_rows >= len(lines)

    def _parsed(
        self, block: bytes, rows: np.ndarray, bad: list[BadRow], next_row: int | None, joined: bool
    ) -> RawBatch:
        """Returns the rows of a block without an open quote.

        Args:
          rows: their numbers; of all lines, where `next_row`, the number of what comes after the block, isn't told.
        """
        first, self._row = self._row, self._row + len(rows) if next_row is None else next_row
        if len(rows) == 0:
            empty: dict[str, pa.Array] = {column: pa.array([], pa.binary()) for column in self._places}
            return RawBatch(self._name, rows, empty, bad)
        skipped: list[int] = []

        def skip(row: Any) -> str:
            number = int(rows[row.number - 1])
            reason = f"expected {row.expected_columns} columns, got {row.actual_columns}"
            bad.append(BadRow(number, reason, reason, row.text))
            skipped.append(row.number - 1)
            return "skip"

        names = [str(index) for index in range(self._width)]
        chosen = {column: names[index] for column, index in self._places.items()}
        table = pa.csv.read_csv(
            pa.BufferReader(block),
            read_options=pa.csv.ReadOptions(column_names=names, block_size=len(block) + 1, use_threads=False),
            parse_options=pa.csv.ParseOptions(
                delimiter=self._dialect.separator,
                quote_char='"' if self._dialect.quotes else False,
                newlines_in_values=joined,
                invalid_row_handler=skip,
            ),
            convert_options=pa.csv.ConvertOptions(
                include_columns=list(dict.fromkeys(chosen.values())) or names[:1],
                column_types=dict.fromkeys(names, pa.binary()),
                strings_can_be_null=False,
            ),
        ).combine_chunks()
        if next_row is None and table.num_rows + len(skipped) < len(rows):
            # Arrow passes over empty lines.
            rows = rows[: len(rows) - _count_empty(block)]
            self._row = first + len(rows)
        good_rows = np.delete(rows, skipped) if skipped else rows
        if len(good_rows) != table.num_rows:
            raise IngestError(
                f"{self._name}: rows {first:,} to {self._row - 1:,} can't be told apart: {len(good_rows):,} lines, "
                f"{table.num_rows:,} rows; are quotes or ends of lines mixed up?"
            )
        arrays = {column: _one_array(table[key]) for column, key in chosen.items()}
        return RawBatch(self._name, good_rows, arrays, bad)


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays([pa.array([], column.type), *column.chunks])


def _text(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode(errors="replace")


def _count_empty(block: bytes) -> int:
    return int(_is_empty(block, np.flatnonzero(np.frombuffer(block, np.uint8) == 10) + 1).sum())


def _is_empty(block: bytes, ends: np.ndarray) -> np.ndarray:
    """Returns per line, by where it ends, whether it holds nothing."""
    data = np.frombuffer(block, np.uint8)
    starts = np.concatenate(([0], ends[:-1]))
    length = ends - starts
    return (length == 1) | ((length == 2) & (data[starts] == 13))


def _lines(block: bytes, ends: np.ndarray) -> pa.Array:
    offsets = np.concatenate(([0], ends)).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(block)])


def _cell(separator: str) -> bytes:
    """Returns the pattern of a cell as Arrow reads it: what follows a closing quote is text again."""
    between = re.escape(separator).encode()
    plain = rb'[^"%b\r\n][^%b\r\n]*' % (between, between)
    return rb'(?:"[^"]*(?:""[^"]*)*"(?:%b)?|%b)?' % (plain, plain)


@lru_cache
def _complete(separator: str) -> bytes:
    """Returns the pattern of a line that leaves no quote open."""
    cell, between = _cell(separator), re.escape(separator).encode()
    return rb"^%b(?:%b%b)*\r?\n?$" % (cell, between, cell)


@lru_cache
def _continuations(separator: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Returns the patterns of a line in an open quote: one that ends the row, and one that leaves a quote open."""
    cell, between = _cell(separator), re.escape(separator).encode()
    inside = rb'[^"]*(?:""[^"]*)*'
    more = rb"(?:%b%b)*" % (between, cell)
    closes = re.compile(rb'^%b"%b\r?\n?$' % (inside, more))
    return closes, re.compile(rb'^%b(?:"%b%b"%b)?$' % (inside, more, between, inside))
