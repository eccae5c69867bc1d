"""JSON -> rows: an object a line, several in a line, a list of objects, or objects over many lines.

Lines go through orjson. What it doesn't take as people mean it (NaN, integers beyond 64 bits, several objects in a
line) is read again by the standard library, that line alone.
"""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from ingest.errors import IngestError
from ingest.raw import BadRow, RawBatch, Separators, holds_maps, require

_ROWS = 50_000
# From here on a float64 no longer holds every integer.
_EXACT = 2.0**53
_BETWEEN = re.compile(r"[\s,\x1e]*")
_BEFORE_ITEM = re.compile(r"[\s,\[\]\x1e]*")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHOWN = 500
# Lines whose keys tell the columns of a file.
_LOOKED_AT = 1_000


def _parse_constant(name: str) -> str | None:
    return None if name == "NaN" else name


# Numbers with a fraction stay as they are written; NaN is missing, and infinity isn't.
_LENIENT = json.JSONDecoder(parse_float=str, parse_constant=_parse_constant)


def read_json(
    name: str, reopen: Any, columns: Mapping[str, str], separators: Separators, is_stream: bool = False
) -> Iterator[RawBatch]:
    """Yields the `columns` of a file of JSON objects; a row's number is that of its line, or of its place in a list.

    Args:
      is_stream: whether each line is an event of its own, so that a broken one says nothing of the others.
    """
    rows = _Rows(name, list(columns), separators)
    lines = ((number, line) for number, line in enumerate(_lines(reopen()), 1) if not line.isspace())
    first = list(itertools.islice(lines, 2))
    if not is_stream and _goes_over_lines([line for _, line in first]):
        adding = rows.add_document(_decoded(name, reopen().read()))
    else:
        adding = rows.add_lines(itertools.chain(first, lines))
    for _ in adding:
        yield rows.batch()
    if rows.count:
        yield rows.batch()
    absent = require(name, sorted(rows.keys), columns) if rows.keys else {}
    if absent:
        yield RawBatch(name, np.zeros(0, np.int64), rows.empty(), absent=absent)


def fields_of(name: str, reopen: Any) -> list[tuple[str, bool]]:
    """Returns the keys of a file's first objects in their order, and whether one holds objects."""
    fields = _Fields(name)
    lines = [(number, line) for number, line in enumerate(itertools.islice(_lines(reopen()), _LOOKED_AT), 1)]
    if _goes_over_lines([line for _, line in lines if not line.isspace()][:2]):
        next(fields.add_document(_decoded(name, reopen().read())), None)
    else:
        for number, line in lines:
            fields.add_line(number, line)
    return list(fields.nested.items())


def _lines(stream: Any) -> Iterator[bytes]:
    first = next(iter(stream), b"").removeprefix(_BYTE_ORDER_MARK)
    return itertools.chain([first] if first else [], stream)


def _goes_over_lines(first: list[bytes]) -> bool:
    """Returns whether the first two lines are of a list or an object that is written over many lines."""
    if not first or _parsed(first[0])[0]:
        return False
    start = first[0].lstrip()[:1]
    return start == b"[" or (start == b"{" and len(first) == 2 and first[1].lstrip()[:1] != b"{")


def _decoded(name: str, content: bytes) -> str:
    try:
        return content.removeprefix(_BYTE_ORDER_MARK).decode()
    except UnicodeDecodeError as error:
        raise IngestError(f"{name}: is not UTF-8: {error}; expected it, or a declared `encoding`") from None


def _parsed(line: bytes) -> tuple[list[dict[str, Any]], str, bool]:
    """Returns the objects in a line, what is wrong with the rest of it, and whether it was read leniently."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return *_parsed_leniently(line, str(error)), True
    return *_objects(value), False


def _parsed_leniently(line: bytes, problem: str) -> tuple[list[dict[str, Any]], str]:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return [], f"not UTF-8: {error}"
    records: list[dict[str, Any]] = []
    offset = _BETWEEN.match(text).end()  # type: ignore[union-attr]
    while offset < len(text):
        try:
            value, offset = _LENIENT.raw_decode(text, offset)
        except ValueError as error:
            # A line that is no JSON at all is told in the words of the stricter parser.
            return records, f"not JSON: {error if records else problem}"
        except RecursionError:
            return records, "not JSON: too deep"
        objects, wrong = _objects(value)
        records += objects
        if wrong:
            return records, wrong
        offset = _BETWEEN.match(text, offset).end()  # type: ignore[union-attr]
    return records, ""


def _objects(value: Any) -> tuple[list[dict[str, Any]], str]:
    if isinstance(value, dict):
        return [value], ""
    if isinstance(value, list) and value and all(isinstance(element, dict) for element in value):
        return value, ""
    return [], f"expected an object, got {type(value).__name__}"


class _InexactError(Exception):
    """A number that was an integer may have lost digits."""


class _Rows:
    """The rows since the last batch; `keys` are those of all objects so far."""

    def __init__(self, name: str, names: list[str], separators: Separators):
        self._name, self._names, self._separators = name, names, separators
        self.keys: set[str] = set()
        self._clear()

    def _clear(self) -> None:
        self._rows: list[int] = []
        self._values: list[list[Any]] = []
        self._bad: list[BadRow] = []

    @property
    def count(self) -> int:
        return len(self._rows) + len(self._bad)

    def add_lines(self, lines: Iterable[tuple[int, bytes]]) -> Iterator[None]:
        """Adds the objects of numbered lines, and yields when there are enough for a batch; the rest are bad rows."""
        for number, line in lines:
            try:
                record = orjson.loads(line)
                texts = self._texts(record) if type(record) is dict else None
            except (ValueError, _InexactError):
                texts = None
            if texts is None:
                self.add_line(number, line)
            else:
                self.keys.update(record)
                self._rows.append(number)
                self._values.append(texts)
            if len(self._rows) + len(self._bad) >= _ROWS:
                yield

    def add_line(self, number: int, line: bytes) -> None:
        """Adds each object of a line, however they stand in it; what is none is a bad row."""
        records, problem, is_exact = _parsed(line)
        values: list[list[Any]] = []
        if not is_exact:
            try:
                values = [self._texts(record) for record in records]
            except _InexactError:
                records, problem = _parsed_leniently(line, "")
            except ValueError:
                # Which of them it is, and why, is told below.
                pass
        for index, record in enumerate(records):
            self._add(number, record, values[index] if values else None, line)
        if problem:
            self._reject(number, problem, line)

    def add_document(self, text: str) -> Iterator[None]:
        """Adds the objects of a list, or of objects one after another, and yields when there are enough for a batch."""
        number, offset = 0, _BEFORE_ITEM.match(text).end()  # type: ignore[union-attr]
        while offset < len(text):
            number += 1
            start = offset
            try:
                value, offset = _LENIENT.raw_decode(text, offset)
                if not isinstance(value, dict):
                    raise ValueError(f"expected an object, got {type(value).__name__}")
            except (ValueError, RecursionError) as error:
                wrong = str(error) if offset > start else f"not JSON: {error}"
                # The next one begins a line as this one does; those inside of it stand further right.
                indent = text[text.rfind("\n", 0, start) + 1 : start]
                following = text.find(f"\n{indent if indent.isspace() else ''}{{", max(start + 1, offset))
                offset = following if following >= 0 else len(text)
                self._reject(number, wrong, text[start:offset][:_SHOWN].encode(errors="replace"))
            else:
                self._add(number, value, None, text[start:offset][:_SHOWN].encode(errors="replace"))
            if self.count >= _ROWS:
                yield
            offset = _BEFORE_ITEM.match(text, offset).end()  # type: ignore[union-attr]

    def _add(self, number: int, record: dict[str, Any], texts: list[Any] | None, line: bytes) -> None:
        self.keys.update(record)
        if texts is None:
            try:
                texts = self._texts(record, is_exact=True)
            except ValueError as error:
                self._reject(number, str(error), line)
                return
        self._rows.append(number)
        self._values.append(texts)

    def _reject(self, number: int, problem: str, line: bytes) -> None:
        problem = " ".join(problem.split())[:300]
        kind = problem.split(":")[0] if problem.startswith("not ") else problem
        self._bad.append(BadRow(number, kind, problem, line.rstrip(b"\r\n").decode(errors="replace")))

    def _texts(self, record: dict[str, Any], is_exact: bool = False) -> list[Any]:
        """Returns the cells, lists as lists of texts.

        Raises:
          ValueError: a cell is no single value, and no list where one may be.
          _InexactError: a number may have lost digits (unless the record `is_exact`).
        """
        texts: list[Any] = []
        for name in self._names:
            value = record.get(name)
            if value is None or (type(value) is str and not is_exact):
                texts.append(value)
            elif isinstance(value, list) and self._separators.get(name):
                texts.append([_text(name, element, is_exact) for element in value])
            elif isinstance(value, dict) and holds_maps(name, self._separators):
                texts.append(orjson.dumps(value).decode())
            else:
                texts.append(_text(name, value, is_exact))
        return texts

    def batch(self) -> RawBatch:
        """Returns the rows since the last one."""
        columns: Iterable[tuple[Any, ...]] = (
            zip(*self._values, strict=True) if self._values else ((),) * len(self._names)
        )
        arrays = {name: self._array(name, cells) for name, cells in zip(self._names, columns, strict=True)}
        batch = RawBatch(self._name, np.array(self._rows, np.int64), arrays, self._bad)
        self._clear()
        return batch

    def empty(self) -> dict[str, pa.Array]:
        return {name: pa.array([], pa.string()) for name in self._names}

    def _array(self, name: str, cells: tuple[Any, ...]) -> pa.Array:
        separator = self._separators.get(name)
        if separator is None or not any(isinstance(cell, list) for cell in cells):
            return pa.array(cells, pa.string())
        lists = (cell.split(separator) if isinstance(cell, str) else cell for cell in cells)
        return pa.array(lists, pa.list_(pa.string()))


class _Fields(_Rows):
    """The keys of objects instead of their values: whether each holds an object, or a list of them."""

    def __init__(self, name: str):
        super().__init__(name, [], {})
        self.nested: dict[str, bool] = {}

    def _add(self, number: int, record: dict[str, Any], texts: list[Any] | None, line: bytes) -> None:
        for key, value in record.items():
            elements = value if isinstance(value, list) else [value]
            is_nested = any(isinstance(element, dict | list) for element in elements)
            self.nested[key] = self.nested.get(key, False) or is_nested


def _text(name: str, value: Any, is_exact: bool) -> str | None:
    if value is None or isinstance(value, str):
        if value and is_exact and _SURROGATE.search(value):
            raise ValueError(f"{name}: holds half of a character")
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if isinstance(value, float) and abs(value) >= _EXACT and not is_exact:
            raise _InexactError
        return repr(value)
    raise ValueError(f"{name}: expected a single value, got {'a list' if isinstance(value, list) else 'an object'}")
