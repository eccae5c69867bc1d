"""Sequences, statistics, slices and gates of a draft, which follow from its labels and features."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ingest.draft.draft import Entry
from ingest.draft.known import FeatureGuess
from ingest.draft.labels import Label
from ingest.draft.words import AUTHOR_WORDS, CATEGORY_WORDS, has

_MOST_BEHAVIOURS = 5
_LEAST_SHARE = 0.002
_SLICED = (2, 20)
# Keys of a statistic by author or category.
_FEWEST_KEYS, _MOST_CATEGORIES = 3, 1_000
# Positive labels of the test split (a tenth of the rows) below which intervals decide nothing.
_FEW_POSITIVES = 300


def behaviours_of(labels: Sequence[Label], delay: str) -> list[Entry]:
    """Returns the sequences of what a user did, by the columns of the labels, the most frequent first."""
    shares = [(float(np.mean(np.nan_to_num(label.values) > 0)), label) for label in labels if label.behaviour]
    shares.sort(key=lambda pair: -pair[0])
    frequent = [(share, label) for share, label in shares if share >= _LEAST_SHARE][:_MOST_BEHAVIOURS] or shares[:1]
    entries = []
    taken: set[str] = set()
    for index, (share, label) in enumerate(frequent):
        behaviour = dict(label.behaviour or {})
        if behaviour["name"] in taken:
            continue
        taken.add(behaviour["name"])
        entries.append(
            Entry(
                {**behaviour, "max_length": 20 if index else 50, "delay": delay},
                f"{share:.1%} of the rows"
                + ("; feedback is known some time after the impression, not at it" if not index else ""),
            )
        )
    return entries


def statistics_of(features: FeatureGuess, delay: str) -> dict[str, Entry]:
    """Returns the section `statistics`: by item, user, the author and the category if there are any."""
    author = _first(features, sorted(AUTHOR_WORDS))
    category = _first(features, CATEGORY_WORDS, _MOST_CATEGORIES)
    keys: list[Any] = ["item"]
    keys += [name for name in (author, category) if name]
    keys.append("user")
    if category:
        keys.append(["user", category])
    by = Entry(keys, "how often each was shown, and each task's label, so far")
    if delay == "0s":
        return {"by": by}
    return {"delay": Entry(delay, "feedback is known some time after the impression, not at it"), "by": by}


def _first(features: FeatureGuess, words: Iterable[str], most: int | None = None) -> str | None:
    for source in ("items", "log"):
        for word in words:
            for name in features.names(source, "categorical"):
                profile = features.profiles[name]
                if (
                    has(profile.name, [word])
                    and profile.distinct > _FEWEST_KEYS
                    and profile.distinct <= (most or np.inf)
                ):
                    return name
    return None


def slices_of(features: FeatureGuess, has_statistics: bool) -> list[Entry]:
    """Returns what evaluation is broken down by: a feature of few values of the log, one of the users, popularity."""
    fewest, most = _SLICED
    chosen = []
    for source in ("log", "users"):
        few = [
            name for name in features.names(source, "categorical") if fewest <= features.profiles[name].distinct <= most
        ]
        chosen += few[:1]
    entries = [Entry([name], f"{features.profiles[name].distinct} values") for name in chosen]
    if has_statistics:
        entries.append(Entry(["item.impressions"], "how often the item was shown before"))
    return entries


def gates_of(labels: Sequence[Label], counts: Mapping[str, int]) -> dict[str, Entry]:
    """Returns the gates that a task can't do without: a regression's, and a rare task's.

    Args:
      counts: positive labels of binary tasks, beside those of `labels`.
    """
    gates = {}
    positives = {label.name: int(np.nansum(label.values)) for label in labels if label.is_binary}
    for label in labels:
        if not label.is_binary:
            gates[label.name] = _regression_gate(label)
    for name, count in {**positives, **counts}.items():
        if count < _FEW_POSITIVES:
            why = f"{count:,} positive labels in the sample: too few to decide"
            gates[name] = Entry({"if_unjudged": "pass"}, why)
    return gates


def _regression_gate(label: Label) -> Entry:
    scale = float(label.task.get("scale", 1.0))
    variance = float(np.var(label.known * scale))
    return Entry({"mse": float(f"{max(variance, 1e-6):.3g}")}, "what predicting the mean would have, its variance")
