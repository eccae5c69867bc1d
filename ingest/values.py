"""Columns as they were read -> typed values, whole columns at a time; a value that can't be used marks its row."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.errors import IngestError
from schema.files import MISSING_IDS_AND_NUMBERS, MISSING_WORDS, WHOLE_NUMBER, SourceFiles, even

# The longest id or categorical value, in bytes.
MAX_TEXT = 64 << 10
_NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?)$"
_SHOWN = 60


class Rejects:
    """Which rows of a batch are left out, and why; a row's first reason stands."""

    def __init__(self, size: int):
        self.mask = np.zeros(size, bool)
        self.reasons: dict[int, tuple[str, str]] = {}

    def add(self, bad: np.ndarray, reason: str, shown: Callable[[int], str] | None = None) -> None:
        """Marks the rows of the boolean array `bad`; `kind` is the reason without the value that `shown` gives."""
        for row in np.flatnonzero(bad & ~self.mask).tolist():
            self.reasons[row] = (reason, f"{reason}, got {shown(row)}" if shown else reason)
        self.mask |= bad

    def forgive(self, rows: np.ndarray) -> None:
        """Takes back the marks of the rows of the boolean array."""
        for row in np.flatnonzero(rows & self.mask).tolist():
            del self.reasons[row]
        self.mask &= ~rows


def bools(array: pa.Array) -> np.ndarray:
    return pc.fill_null(array, False).to_numpy(zero_copy_only=False).astype(bool)


def shown(value: object) -> str:
    """Returns a value as an error shows it: short, and without bytes that a terminal would obey."""
    text = repr(value.decode(errors="replace") if isinstance(value, bytes) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text) - 2:,} characters)"


@dataclass(frozen=True)
class MissingWords:
    """The words that stand for a missing value: of categories, and of ids and numbers; `numbers` are numbers too."""

    texts: tuple[str, ...] = MISSING_WORDS
    ids: tuple[str, ...] = (*MISSING_WORDS, *MISSING_IDS_AND_NUMBERS)
    numbers: tuple[float, ...] = ()

    @classmethod
    def of(cls, section: SourceFiles) -> "MissingWords":
        return cls(section.missing_texts, section.missing_ids, section.missing_numbers)


class Column:
    """One column of a batch, asked for as text, ids, numbers, 0/1 flags or times (`ingest.times`).

    Each question marks the rows it can't answer in `rejects`; a missing value (null, empty or a word that stands for
    it) is an answer. A column of a type that can't be what is asked raises `IngestError`.
    """

    def __init__(self, name: str, array: pa.Array, rejects: Rejects, missing: MissingWords = MissingWords()):
        self.name, self.array, self.rejects, self.missing = name, array, rejects, missing
        self._plain: pa.Array | None = None
        self._texts: pa.Array | None = None

    def shown(self, row: int) -> str:
        return shown(self.array[row].as_py())

    def texts(self) -> pa.Array:
        """Returns the values of a category as text, `1.0` as `1`; null = missing."""
        if self._texts is None:
            self._texts = _without_words(_without_zeros(self.plain_texts()), self.missing.texts)
        return self._texts

    def plain_texts(self) -> pa.Array:
        """Returns the cells as text; null = empty.

        Rejects what isn't UTF-8, holds a NUL byte or is longer than `MAX_TEXT`.
        """
        if self._plain is None:
            self._plain = self._as_texts()
        return self._plain

    def _as_texts(self) -> pa.Array:
        array_type = self.array.type
        if pa.types.is_floating(array_type):
            return _integral_texts(self.array)
        if pa.types.is_nested(array_type):
            self.rejects.add(bools(self.array.is_valid()), f"{self.name}: expected a single value", self.shown)
            return pa.nulls(len(self.array), pa.string())
        if not (pa.types.is_binary(array_type) or pa.types.is_string(array_type)):
            return self._cast(pa.string())
        array = self._decoded() if pa.types.is_binary(array_type) else self.array
        if len(array) == 0:
            return array
        data = array.buffers()[2]
        if data is not None and (np.frombuffer(data, np.uint8) == 0).any():
            array = self._without(array, bools(pc.match_substring(array, "\0")), "holds a NUL byte")
        if (pc.max(pc.binary_length(array)).as_py() or 0) > MAX_TEXT:
            long = bools(pc.greater(pc.binary_length(array), MAX_TEXT))
            array = self._without(array, long, f"is longer than {MAX_TEXT:,} bytes")
        empty = pc.equal(array, "")
        return pc.if_else(empty, pa.scalar(None, pa.string()), array) if pc.any(empty).as_py() else array

    def _cast(self, target: pa.DataType) -> pa.Array:
        try:
            return self.array.cast(target, safe=False)
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):
            raise IngestError(
                f"column {self.name!r} holds {self.array.type}, which can't be read as {target}"
            ) from None

    def _decoded(self) -> pa.Array:
        try:
            return self.array.cast(pa.string())
        except pa.ArrowInvalid:
            pass
        bad = np.zeros(len(self.array), bool)
        for row, value in enumerate(self.array.to_pylist()):
            try:
                if value is not None:
                    value.decode()
            except UnicodeDecodeError:
                bad[row] = True
        return self._without(self.array, bad, "is not UTF-8").cast(pa.string())

    def _without(self, array: pa.Array, bad: np.ndarray, reason: str) -> pa.Array:
        self.rejects.add(bad, f"{self.name}: {reason}", self.shown)
        return pc.if_else(pa.array(bad), pa.scalar(None, array.type), array)

    def is_missing(self) -> np.ndarray:
        """Returns bool: whether a cell is empty, or a word that stands for a missing category."""
        if pa.types.is_nested(self.array.type):
            return bools(self.array.is_null())
        return bools(pc.is_null(self.texts()))

    def ids(self) -> pa.Array:
        """Returns ids as text, `1.0` as `1` (as pandas writes them beside missing ones). Rejects missing ids."""
        texts = _without_words(_without_zeros(self.plain_texts()), self.missing.ids)
        self.rejects.add(bools(pc.is_null(texts)), f"{self.name}: the id is missing")
        return texts

    def numbers(self) -> np.ndarray:
        """Returns float64; NaN = missing, as a declared number is in any spelling. Rejects other text, and infinity."""
        array_type = self.array.type
        if pa.types.is_integer(array_type) or pa.types.is_floating(array_type) or pa.types.is_boolean(array_type):
            array = self.array.cast(pa.uint8()) if pa.types.is_boolean(array_type) else self.array
            values = array.cast(pa.float64(), safe=False)
        elif pa.types.is_temporal(array_type):
            raise IngestError(f"column {self.name!r} holds {array_type}, expected numbers")
        else:
            values = self._parsed_numbers(self.plain_texts())
        result = pc.fill_null(values, np.nan).to_numpy(zero_copy_only=False)
        if self.missing.numbers:
            # As examples and requests hold them.
            is_missing = np.isin(result.astype(np.float32), np.array(self.missing.numbers, np.float32))
            result = np.where(is_missing, np.nan, result)
        # Examples hold float32.
        huge = np.abs(result) > np.finfo(np.float32).max
        self.rejects.add(huge, f"{self.name}: expected a finite number", self.shown)
        return np.where(huge, np.nan, result)

    def _parsed_numbers(self, texts: pa.Array) -> pa.Array:
        try:
            return texts.cast(pa.float64())
        except pa.ArrowInvalid:
            pass
        texts = pc.utf8_lower(pc.utf8_trim_whitespace(_without_words(texts, self.missing.ids)))
        texts = pc.if_else(pc.equal(texts, "true"), "1", pc.if_else(pc.equal(texts, "false"), "0", texts))
        texts = pc.if_else(pc.is_in(texts, pa.array(["", "nan"])), pa.scalar(None, pa.string()), texts)
        wrong = pc.invert(pc.match_substring_regex(texts, _NUMBER))
        self.rejects.add(bools(wrong), f"{self.name}: expected a number", self.shown)
        return pc.if_else(pc.fill_null(wrong, True), pa.scalar(None, pa.string()), texts).cast(pa.float64())

    def flags(self) -> np.ndarray:
        """Returns int8; 1, 0 or -1 = missing. Rejects what is neither 0, 1, true, false, t nor f."""
        if pa.types.is_integer(self.array.type) or pa.types.is_floating(self.array.type):
            numbers = self.numbers()
            result = np.select([np.isnan(numbers), numbers == 0, numbers == 1], [-1, 0, 1], -2).astype(np.int8)
        elif pa.types.is_boolean(self.array.type):
            result = pc.fill_null(self.array.cast(pa.int8()), -1).to_numpy(zero_copy_only=False)
        else:
            encoded = self.plain_texts().dictionary_encode()
            words = encoded.dictionary.to_pylist()
            meanings = [-1 if even(word) in self.missing.ids else _flag(word) for word in words]
            meaning = np.array([*meanings, -1], np.int8)
            result = meaning[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]
        self.rejects.add(result == -2, f"{self.name}: expected 0, 1, true or false", self.shown)
        return result


def _without_zeros(texts: pa.Array) -> pa.Array:
    if bools(pc.match_substring(texts, ".0")).any():
        return pc.replace_substring_regex(texts, WHOLE_NUMBER, r"\1")
    return texts


def _without_words(texts: pa.Array, words: tuple[str, ...]) -> pa.Array:
    if not words:
        return texts
    is_word = pc.is_in(texts, value_set=pa.array(words, pa.string()))
    return pc.if_else(is_word, pa.scalar(None, pa.string()), texts) if pc.any(is_word).as_py() else texts


def _flag(text: str) -> int:
    text = text.strip().lower()
    if text in ("", "nan"):
        return -1
    return {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "f": 0, "t": 1}.get(text, -2)


def _integral_texts(array: pa.Array) -> pa.Array:
    """Returns floats as text; whole ones without a fraction, NaN as missing."""
    values = array.cast(pa.float64())
    integral = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 2.0**63))
    integers = pc.if_else(integral, values, 0.0).cast(pa.int64(), safe=False).cast(pa.string())
    missing = pc.or_(pc.is_null(values), pc.is_nan(values))
    return pc.if_else(missing, pa.scalar(None, pa.string()), pc.if_else(integral, integers, values.cast(pa.string())))
