"""What a column that is known before the impression is as a feature, or why it can be none."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.draft.clocks import clock_of, named_as_time
from ingest.draft.profile import Profile, share
from ingest.draft.words import AUTHOR_WORDS, CODE_WORDS, ID_WORDS, LENGTH_WORDS, MEASURE_WORDS, has

_MOSTLY_MISSING = 0.95
_UNIQUE = 0.9
_FEW_ROWS = 20
_LONG_TEXT, _LONG_WORDS = 40, 4
_FEW_VALUES = 30
_LEAK = 0.9
_LEAST_OF_A_CLASS = 20
_TOKEN = 40
# A cell that begins with a bracket and ends with one, and not a range such as `[1,5)`.
_BRACKETS = r"^\s*(\[.*\]|\{.*\}|\(.*,.*\))\s*$"
_VECTOR_SEPARATORS = "|,; "


@dataclass(frozen=True)
class Kind:
    """A feature's kind and options as the spec declares them, why, and what is unsure."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    doubt: str = ""


@dataclass(frozen=True)
class LeftOut:
    """Why a column is no feature."""

    why: str


def kind_of(profile: Profile) -> Kind | LeftOut:
    """Returns what a column is as a feature, by what it holds and by its name."""
    missing = 1 - profile.present / max(profile.rows, 1)
    if missing > _MOSTLY_MISSING:
        return LeftOut(f"missing in {missing:.0%} of the rows")
    if profile.is_list:
        return _of_lists(profile.sizes, profile.is_float, profile.texts)
    if profile.distinct <= 1:
        return LeftOut(f"{profile.values[0]!r} in every row that has one")
    if profile.is_time or (clock_of(profile) and (profile.numbers is None or named_as_time(profile.name))):
        return LeftOut("a time, which never comes back")
    if share(pc.match_substring_regex(pc.drop_null(profile.texts), r"^(19|20)\d\d[01]\d[0-3]\d$")) > _MOSTLY_MISSING:
        return LeftOut("a day of the calendar, which never comes back")
    if profile.numbers is not None and profile.flags is None:
        return _of_numbers(profile)
    return _of_texts(profile)


def _of_lists(sizes: np.ndarray, is_float: bool, elements: pa.Array) -> Kind | LeftOut:
    filled = sizes[sizes > 0]
    if not len(filled):
        return LeftOut("all its lists are empty")
    size = int(filled[0])
    if size > 1 and (filled == size).all() and (is_float or _are_fractions(elements)):
        return Kind("vector", {"size": size}, f"{size} numbers in each cell")
    if pc.count_distinct(elements).as_py() <= 1:
        return LeftOut("the same value in every list")
    return Kind("multi", {}, f"lists of up to {int(filled.max())} values")


def _are_fractions(elements: pa.Array) -> bool:
    return share(pc.match_substring_regex(pc.drop_null(elements), r"^\s*-?\d*\.\d+([eE][+-]?\d+)?\s*$")) > 0.5


def _of_numbers(profile: Profile) -> Kind | LeftOut:
    numbers = profile.known_numbers
    is_measure = has(profile.name, MEASURE_WORDS)
    is_code = has(profile.name, CODE_WORDS)
    if profile.is_whole and is_code and not (is_measure and not has(profile.name, ID_WORDS)):
        if _is_unique(profile):
            return LeftOut("another value in nearly every row")
        return Kind("categorical", why=f"{profile.distinct:,} whole numbers that name something")
    if profile.is_whole and not is_measure:
        if profile.distinct <= _FEW_VALUES:
            doubt = "its few whole numbers are taken for names; if their order says something, `kind: numeric`"
            return Kind("categorical", why=f"{profile.distinct} values", doubt=doubt)
        if _is_unique(profile):
            return LeftOut("another whole number in nearly every row")
    low, middle, high = np.quantile(numbers, [0, 0.5, 0.99])
    if has(profile.name, LENGTH_WORDS) and profile.distinct > _FEW_VALUES:
        return Kind("numeric", {"scale": "buckets", "buckets": 20}, "a length, which seldom counts in proportion")
    if low >= 0 and high > 20 * (middle + 1e-9) and high > 1:
        return Kind("numeric", {"scale": "log"}, f"its numbers reach from {low:g} over {middle:g} to {numbers.max():g}")
    return Kind("numeric", why=f"numbers from {low:g} to {numbers.max():g}")


def _is_unique(profile: Profile) -> bool:
    # Most authors may have one item, and yet be seen again and again.
    unique = profile.present - 1 if has(profile.name, AUTHOR_WORDS) else _UNIQUE * profile.present
    return profile.present >= _FEW_ROWS and profile.distinct > unique


def _of_texts(profile: Profile) -> Kind | LeftOut:
    cells = pc.drop_null(profile.texts)
    several = split_kind(profile)
    if several:
        return several
    if share(pc.match_substring_regex(cells, r"^\s*(https?://|www\.|\{\s*\")")) > 0.5:
        return LeftOut("addresses or objects, not values")
    words = pc.add(pc.count_substring(cells, " "), 1)
    is_long = np.median(pc.utf8_length(cells)) > _LONG_TEXT or np.median(words) > _LONG_WORDS
    if is_long and profile.distinct > _FEW_VALUES:
        return LeftOut("free text")
    if _is_unique(profile):
        return LeftOut("another value in nearly every row")
    doubt = ""
    if profile.distinct > 0.5 * profile.present and profile.present >= _FEW_ROWS:
        doubt = "most of its values come once"
    return Kind("categorical", why=f"{profile.distinct:,} values", doubt=doubt)


def split_kind(profile: Profile) -> Kind | None:
    """Returns what cells of text are that hold several values; None where they hold one."""
    cells = pc.drop_null(profile.texts)
    is_bracketed = share(pc.match_substring_regex(cells, _BRACKETS)) > 0.8
    vector = _vector_in_text(cells)
    if vector:
        return vector
    for separator in ("|", ",", ";", "/"):
        has_separator = share(pc.match_substring(cells, separator))
        if has_separator < 0.05 and not (is_bracketed and separator == ","):
            continue
        tokens = pc.list_flatten(pc.split_pattern(cells, separator))
        if is_bracketed:
            tokens = pc.utf8_trim(tokens, " []{}()'\"")
        if _are_tokens(tokens, profile.distinct, is_bracketed or separator == "|"):
            options: dict[str, Any] = {} if separator == "|" else {"separator": separator}
            spaced = share(pc.match_substring_regex(tokens, r"^\s|\s$")) > 0
            if is_bracketed or spaced:
                options["strip"] = True
            is_sure = separator == "|" or is_bracketed
            doubt = "" if is_sure else f"is {separator!r} between values, or within one?"
            return Kind("multi", options, f"{has_separator:.0%} of the cells hold several values", doubt)
    return None


def _are_tokens(tokens: pa.Array, cells: int, is_certain: bool) -> bool:
    """Returns whether parts of cells are values of their own: short, and fewer than the cells that they make up."""
    if len(tokens) == 0 or pc.max(pc.utf8_length(tokens)).as_py() > _TOKEN:
        return False
    trimmed = pc.utf8_trim_whitespace(tokens)
    if np.median(pc.count_substring(trimmed, " ")) > 2:
        return False
    if is_certain:
        return True
    # `[1,5)` is one value.
    half = share(pc.match_substring_regex(trimmed, r"^[\[(][^\])]*$|^[^\[(]*[\])]$"))
    return half < 0.1 and pc.count_distinct(trimmed).as_py() < cells


def _vector_in_text(cells: pa.Array) -> Kind | None:
    """Returns the vector that each cell holds as text: the same number of numbers, some with a fraction."""
    first = cells.slice(0, 1_000)
    for separator in _VECTOR_SEPARATORS:
        parts = pc.split_pattern(first, separator)
        sizes = np.unique(pc.list_value_length(parts).to_numpy(zero_copy_only=False))
        if len(sizes) != 1 or sizes[0] < 2:
            continue
        elements = pc.list_flatten(parts)
        if share(pc.match_substring_regex(elements, r"^-?\d*\.?\d+([eE][+-]?\d+)?$")) == 1 and _are_fractions(elements):
            options: dict[str, Any] = {"size": int(sizes[0])}
            if separator != "|":
                options["separator"] = separator
            return Kind("vector", options, f"{sizes[0]} numbers in each cell")
    return None


def leak(profile: Profile, labels: Mapping[str, np.ndarray]) -> str | None:
    """Returns why a column of the log can't be known before the impression: alone it tells a label; None: it doesn't.

    Args:
      labels: by task, 1 and 0, NaN outside of its sample space.
    """
    if profile.is_list:
        return None
    for name, label in labels.items():
        power = tells(profile, label)
        if power > _LEAK:
            return (
                f"alone it tells {name!r} (AUC {power:.2f}), so that it is likely known only after the impression; "
                "if not, add it"
            )
    return None


def tells(profile: Profile, label: np.ndarray) -> float:
    """Returns how well a column alone tells a label: the AUC, or 1 - AUC if larger; 0.5 of too few labels.

    Of a number its own order is taken, of texts the label's mean on one half of the rows, judged on the other half.
    """
    is_labelled = ~np.isnan(label)
    values = _as_order(profile, label)
    usable = is_labelled & ~np.isnan(values)
    # Whether a number is there at all may tell, too.
    powers = [_auc(values[usable], label[usable])]
    if profile.cells.null_count:
        powers.append(
            _auc(profile.cells.is_valid().to_numpy(zero_copy_only=False).astype(float)[is_labelled], label[is_labelled])
        )
    return max(max(power, 1 - power) for power in powers)


def _as_order(profile: Profile, label: np.ndarray) -> np.ndarray:
    if profile.numbers is not None:
        return profile.numbers
    encoded = profile.texts.dictionary_encode()
    codes = pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy(zero_copy_only=False)
    # By chance, the same one each time: rows that lie side by side may differ by their place.
    learns = (np.random.default_rng(1).random(len(label)) < 0.5) & ~np.isnan(label)
    size = len(encoded.dictionary) + 1
    positive = np.bincount(codes[learns], label[learns], size)
    mean = float(label[learns].mean()) if learns.any() else 0.0
    rates = (positive + mean) / (np.bincount(codes[learns], minlength=size) + 1)
    return np.where(learns, np.nan, rates[codes])


def _auc(scores: np.ndarray, labels: np.ndarray) -> float:
    positive = int(labels.sum())
    negative = len(labels) - positive
    if min(positive, negative) < _LEAST_OF_A_CLASS:
        return 0.5
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return float((ranks[labels == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))


def feature_name(column: str, kind: Kind, taken: Iterable[str], source: str, identifier: str) -> str:
    """Returns a name that no other column of the examples has: `author_id` is `author`, a second one `item_author`."""
    taken = set(taken)
    short = re.sub(r"_id$", "", identifier) if kind.kind == "categorical" else identifier
    prefix = {"users": "user", "items": "item"}.get(source, "log")
    names = [short, identifier, f"{prefix}_{short}", *(f"{prefix}_{identifier}_{n}" for n in range(2, 100))]
    return next(name for name in names if name not in taken)
