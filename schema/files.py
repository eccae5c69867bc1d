"""How the files of a source are written: what a reader needs to know of them beside their names."""

import codecs
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from schema.parts import Column, Frozen

# What is read as missing where nothing else is declared: everywhere, and in ids and numbers beside it. (`NA` may be
# Namibia, and `none` a value, where they are categories.)
MISSING_WORDS = ("NULL", "null", "Null", "\\N", "nan", "NaN", "NAN", "None", "undefined", "<NA>")
MISSING_IDS_AND_NUMBERS = ("NA", "N/A", "n/a", "#N/A", "none", "nil", "-nan")
# Of a whole number with a fraction of zeros, as pandas writes it beside missing ones: an id or a category without it.
WHOLE_NUMBER = r"^(-?\d+)\.0+$"

_WHOLE, _NUMBER = re.compile(WHOLE_NUMBER), re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$", re.IGNORECASE)
_SEPARATOR_NAMES = {"\\t": "\t", "tab": "\t"}


def even(text: str) -> str:
    """Returns a text as categories and ids are held: `1.0` as `1`."""
    return _WHOLE.sub(r"\1", text)


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


# Glob patterns relative to the folder of the logs; a single one may stand without a list.
Files = Annotated[tuple[Column, ...], BeforeValidator(_one_or_many), Field(min_length=1, strict=False)]


def _separator(value: Any) -> Any:
    value = _SEPARATOR_NAMES.get(value, value) if isinstance(value, str) else value
    if not isinstance(value, str) or len(value) != 1 or not value.isascii() or value in '"\r\n\0':
        raise ValueError('expected one character such as ",", ";", "|" or "\\t"')
    return value


def _encoding(value: str) -> str:
    try:
        codec = codecs.lookup(value)
    except LookupError:
        codec = None
    if codec is None or not getattr(codec, "_is_text_encoding", True):
        raise ValueError("expected a text encoding such as utf-8, latin-1, cp1252 or utf-16")
    return value


class SourceFiles(Frozen):
    """The files of one source, and how they are written; what isn't given goes by a file's name and first bytes."""

    files: Files
    format: Literal["csv", "jsonl", "parquet", "avro"] | None = None
    compression: Literal["none", "gz", "bz2", "zip", "zstd"] | None = None
    # CSV: what stands between the cells; a comma, or a tab in files named `.tsv`.
    separator: Annotated[str, BeforeValidator(_separator)] | None = None
    # CSV: whether cells may stand in double quotes.
    quotes: bool = True
    # CSV: whether the first line names the columns; else `columns` does.
    header: bool = True
    columns: Annotated[tuple[Column, ...], Field(strict=False)] = ()
    encoding: Annotated[str, AfterValidator(_encoding)] | None = None
    # The words that stand for a missing value; by default `MISSING_WORDS`.
    missing: Annotated[tuple[str, ...], BeforeValidator(_one_or_many), Field(strict=False)] | None = None

    @model_validator(mode="after")
    def _columns_go_with_no_header(self) -> Self:
        if not self.header and not self.columns:
            raise ValueError("`header: false` needs `columns`, the columns' names in their order")
        if self.header and self.columns:
            raise ValueError("`columns` names the columns of files without a header: it needs `header: false`")
        if repeated := [name for name in self.columns if self.columns.count(name) > 1]:
            raise ValueError(f"`columns` names {repeated[0]!r} twice")
        if self.format not in (None, "csv"):
            for option, is_set in (
                ("separator", self.separator),
                ("columns", self.columns),
                ("quotes", not self.quotes),
            ):
                if is_set:
                    raise ValueError(f"`{option}` belongs to `format: csv`, got `format: {self.format}`")
        return self

    @property
    def missing_texts(self) -> tuple[str, ...]:
        """Returns the words that are missing in a category, evened out as categories are."""
        return MISSING_WORDS if self.missing is None else tuple(map(even, self.missing))

    @property
    def missing_ids(self) -> tuple[str, ...]:
        """Returns the words that are missing where an id or a number is expected."""
        return (*MISSING_WORDS, *MISSING_IDS_AND_NUMBERS) if self.missing is None else self.missing_texts

    @property
    def missing_numbers(self) -> tuple[float, ...]:
        """Returns the words that are missing as numbers, such as -1, in whatever way these are written."""
        return tuple(float(word) for word in self.missing or () if _NUMBER.match(word))
