"""What a log with one impression a row says that people did: labels, their sample spaces, and what leaks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ingest.draft.profile import Profile
from ingest.draft.words import (
    CONSUMED_WORDS,
    CONTEXT_WORDS,
    FEEDBACK_NUMBERS,
    LABEL_WORDS,
    LENGTH_WORDS,
    MODEL_WORDS,
    NEGATIVE_WORDS,
    POSITION_WORDS,
    POSITIVE_WORDS,
    RATING_WORDS,
    has,
    identifier,
    past_of,
    verb_of,
    words_of,
)

_RATING_VALUES = (3, 25)
_HIGHEST_RATING = 100
# A rating is high from the value on that about this share of the rows reaches.
_HIGH = 0.5
# Fewer rows of the rarer class say nothing.
LEAST_POSITIVE = 3
# The share of what somebody did that must lie in the rows of a sample space.
_INSIDE = 0.999
_FEW_FOR_A_SPACE = 20
_UNITS = {"ms": "ms", "milliseconds": "ms", "msec": "ms", "s": "s", "sec": "s", "secs": "s", "seconds": "s"}


@dataclass(frozen=True)
class Label:
    """A task as the spec declares it, with what it is on each row of the sample.

    Attributes:
      values: float64, 1 or 0 of a binary task, the label of a regression, NaN outside of its sample space.
      behaviour: what the sequence of such rows is called, and the condition of the rows; None makes no sequence.
    """

    task: Mapping[str, Any]
    values: np.ndarray
    why: str
    doubt: str = ""
    behaviour: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        return str(self.task["name"])

    @property
    def is_binary(self) -> bool:
        return "ratio" not in self.task and "kind" not in self.task

    @property
    def known(self) -> np.ndarray:
        """Returns the labels in the sample space."""
        return self.values[~np.isnan(self.values)]


@dataclass
class Feedback:
    """The labels that a log has, and the columns that can't be features because of what they are, each with why."""

    labels: list[Label] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def labels_of(columns: Sequence[Profile], hinted_labels: Iterable[str] = ()) -> Feedback:
    """Returns the feedback among the columns of a log with one impression a row.

    Args:
      hinted_labels: columns that are labels, whatever their names say.
    """
    hinted_labels = list(hinted_labels)
    result = Feedback()
    unsure: list[Profile] = []
    for profile in columns:
        if profile.flags is not None:
            _add_flags(result, unsure, profile, profile.name in hinted_labels)
        elif profile.numbers is not None:
            _add_numbers(result, profile, profile.name in hinted_labels)
    _add_ratio(result, columns)
    if not any(label.is_binary for label in result.labels):
        _add_unsure(result, unsure, columns)
    for profile in unsure:
        if profile.name not in {label.task.get("column") for label in result.labels}:
            reason = "0 or 1, and its name doesn't say whether it is feedback: then a task, or known before: a feature"
            result.left_out.setdefault(profile.name, reason)
    result.labels = within_spaces(distinct_names(result.labels))
    return result


def _add_flags(result: Feedback, unsure: list[Profile], profile: Profile, is_told: bool) -> None:
    words = frozenset(words_of(profile.name))
    if is_told or (words & (POSITIVE_WORDS | LABEL_WORDS) and not words & NEGATIVE_WORDS):
        if min(_counts(profile)) < LEAST_POSITIVE:
            count = _counts(profile)[0]
            result.left_out[profile.name] = f"feedback, but 1 in only {count:,} of {profile.present:,} rows"
            return
        result.labels.append(_flag_label(profile, "told" if is_told else f"{_rate(profile)} of the rows"))
    elif words & NEGATIVE_WORDS:
        result.left_out[profile.name] = "what people dislike; as a task it takes an `exponent` of 0 or less"
    elif not words & CONTEXT_WORDS and profile.distinct > 1:
        unsure.append(profile)


def _counts(profile: Profile) -> tuple[int, int]:
    """Returns in how many rows a column of 0 and 1 is 1, and in how many 0."""
    flags = np.zeros(0) if profile.flags is None else profile.flags
    return int(np.sum(flags == 1)), int(np.sum(flags == 0))


def _rate(profile: Profile) -> str:
    positive, negative = _counts(profile)
    return f"{positive / max(positive + negative, 1):.2%}"


def _flag_label(profile: Profile, why: str, doubt: str = "") -> Label:
    flags = profile.flags if profile.flags is not None else np.zeros(0)
    verb = verb_of(profile.name)
    return Label(
        {"name": verb, "column": profile.name},
        np.where(flags < 0, np.nan, flags).astype(np.float64),
        why,
        doubt,
        {"name": past_of(verb), "column": profile.name},
    )


def _add_numbers(result: Feedback, profile: Profile, is_told: bool) -> None:
    name = profile.name
    if is_rating(profile):
        result.labels += _rating_labels(profile)
        result.left_out[name] = "a rating, which is given afterwards"
    elif is_told:
        result.labels.append(_regression(profile))
        result.left_out[name] = "a label"
    elif has(name, (*FEEDBACK_NUMBERS, *POSITIVE_WORDS, *NEGATIVE_WORDS)):
        result.left_out[name] = "known only after the impression, as its name says"
    elif has(name, POSITION_WORDS):
        result.left_out[name] = "where it was shown, which isn't known when candidates are ranked"
    elif has(name, MODEL_WORDS):
        result.left_out[name] = "what another model said"


def is_rating(profile: Profile) -> bool:
    """Returns whether a column holds ratings: few numbers from 0 to 100 under such a name."""
    numbers = profile.known_numbers
    fewest, most = _RATING_VALUES
    if profile.flags is not None or not len(numbers) or not fewest <= len(np.unique(numbers)) <= most:
        return False
    is_named = has(profile.name, RATING_WORDS) or profile.name.startswith("column_")
    highest = 10 if profile.name.startswith("column_") else _HIGHEST_RATING
    return is_named and numbers.min() >= 0 and numbers.max() <= highest and bool((numbers * 2 % 1 == 0).all())


def _rating_labels(profile: Profile) -> list[Label]:
    numbers = profile.numbers if profile.numbers is not None else np.zeros(0)
    ratings = np.unique(profile.known_numbers)
    high = min(ratings[1:], key=lambda value: abs((profile.known_numbers >= value).mean() - _HIGH))
    name = identifier(profile.name)
    values = np.where(np.isnan(numbers), np.nan, (numbers >= high).astype(np.float64))
    return [
        Label(
            {"name": f"high_{name}", "column": profile.name, "at_least": _plain(high)},
            values,
            f"ratings go from {ratings[0]:g} to {ratings[-1]:g}; {np.nanmean(values):.0%} are {high:g} or more",
            "from which rating on does somebody like an item?",
            {"name": "rated_high", "column": profile.name, "at_least": _plain(high)},
        ),
        Label(
            {"name": name, "column": profile.name, "kind": "regression"},
            numbers,
            "the rating itself, which has no part in the ranking score",
            "",
            {"name": "rated", "column": profile.name, "at_least": _plain(ratings[0])},
        ),
    ]


def _plain(number: float) -> int | float:
    return int(number) if number == int(number) else float(number)


def _regression(profile: Profile) -> Label:
    numbers = profile.numbers if profile.numbers is not None else np.zeros(0)
    task: dict[str, Any] = {"name": identifier(profile.name), "column": profile.name, "kind": "regression"}
    if not (profile.known_numbers < 0).any():
        task["transform"] = "log1p"
    return Label(task, numbers, "told")


def _add_ratio(result: Feedback, columns: Sequence[Profile]) -> None:
    """Adds how much of an item somebody took in: a time of theirs by the item's length."""
    lengths = [
        p for p in columns if has(p.name, LENGTH_WORDS) and p.name not in result.left_out and len(p.known_numbers)
    ]
    consumed = [p for p in columns if p.name in result.left_out and has(p.name, CONSUMED_WORDS) and p.flags is None]
    for numerator in consumed:
        for denominator in lengths:
            lengths_of_rows, times_of_rows = denominator.numbers, numerator.numbers
            if _unit(numerator.name) != _unit(denominator.name) or lengths_of_rows is None or times_of_rows is None:
                continue
            ratios = times_of_rows / np.where(lengths_of_rows > 0, lengths_of_rows, np.nan)
            positive = ratios[ratios > 0]
            if not len(positive) or not 0.02 < np.median(positive) < 20:
                continue
            task = {
                "name": "completion",
                "ratio": {"numerator": numerator.name, "denominator": denominator.name},
            }
            result.labels.insert(
                0, Label(task, np.clip(ratios, 0, 1), f"{np.median(positive):.2f} in the middle of those above 0")
            )
            return


def _unit(name: str) -> str | None:
    return next((_UNITS[word] for word in reversed(words_of(name)) if word in _UNITS), None)


def _add_unsure(result: Feedback, unsure: list[Profile], columns: Sequence[Profile]) -> None:
    """Adds what may be feedback where nothing is for certain: other 0/1 columns, or a number's upper half."""
    for profile in unsure:
        if min(_counts(profile)) >= LEAST_POSITIVE:
            doubt = "0 or 1, but its name doesn't say that it is feedback"
            result.labels.append(_flag_label(profile, f"{_rate(profile)} of the rows", doubt))
    if any(label.is_binary for label in result.labels):
        return
    for profile in columns:
        if profile.name in result.left_out and has(profile.name, CONSUMED_WORDS) and profile.numbers is not None:
            numbers = profile.numbers
            middle = float(f"{np.nanmedian(numbers):.4g}")
            values = np.where(np.isnan(numbers), np.nan, (numbers > middle).astype(np.float64))
            if min(np.nansum(values), np.nansum(1 - values)) < LEAST_POSITIVE:
                continue
            condition = {"column": profile.name, "above": _plain(middle)}
            verb = next(word for word in words_of(profile.name) if word in CONSUMED_WORDS)
            doubt = "above the median, for want of a better bound"
            task = {"name": f"long_{verb}", **condition}
            past = {"name": past_of(f"long_{verb}"), **condition}
            result.labels.append(Label(task, values, "no column holds 0 and 1", doubt, past))
            return


def within_spaces(labels: Sequence[Label]) -> list[Label]:
    """Returns the labels with their sample spaces: what is done only where something else was done before."""
    gates = [
        label
        for label in labels
        if label.is_binary and "at_least" not in label.task and has(label.name, ("click", "view", "open", "impress"))
    ]
    # The widest comes first.
    gates.sort(key=lambda label: -float(np.nanmean(label.values)))
    return [_within(label, gates) for label in labels]


def _within(label: Label, gates: Sequence[Label]) -> Label:
    done = np.nan_to_num(label.values) > 0
    for gate in gates:
        opened = gate.values == 1
        if gate is label or done.sum() < _FEW_FOR_A_SPACE or opened.mean() <= done.mean():
            continue
        # What a gate rarely closes is no space.
        if opened.mean() < 0.98 and opened[done].mean() >= _INSIDE:
            return replace(
                label,
                task={**label.task, "within": {"column": gate.task["column"]}},
                values=np.where(opened, label.values, np.nan),
                why=f"{label.why}; never without {gate.task['column']!r}",
            )
    return label


def distinct_names(labels: Sequence[Label]) -> list[Label]:
    """Returns the labels with names none of which begins as another's does."""
    names = [label.name for label in labels]
    result: list[Label] = []
    for index, label in enumerate(labels):
        name = label.name
        others = [*names[:index], *names[index + 1 :]]
        if name in names[:index] or any(other_name.startswith(name) and other_name != name for other_name in others):
            name = f"did_{name}" if label.is_binary else f"value_of_{name}"
        while any(name == earlier.name for earlier in result):
            name += "_again"
        result.append(replace(label, task={**label.task, "name": name}))
    return result
