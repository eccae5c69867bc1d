"""The AUC of many scores in little memory: counts by score, exact up to a number of different scores, mergeable."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

# With more different scores, these lose their last bits until there are no more. The AUC then moves by a small part of
# its standard error: by 1e-5 where that is 5e-3.
MAX_BINS = 4096


@dataclass(frozen=True)
class ScoreHistogram:
    """How many positives and negatives have which score.

    Which bins there are depends only on the rows, not on the order in which parts were merged.

    Attributes:
      level: how many of the last bits of a score are left out.
      bits: the scores, without these bits, as float32 bit patterns; rising, `(bins,)`.
      positives, negatives: `(bins,)`.
    """

    level: int
    bits: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    @cached_property
    def total_positives(self) -> float:
        return float(self.positives.sum())

    @cached_property
    def total_negatives(self) -> float:
        return float(self.negatives.sum())

    @property
    def scores(self) -> np.ndarray:
        """Returns the middle of each bin, `(bins,)`."""
        half = np.uint32((1 << self.level) >> 1)
        return (self.bits + half).view(np.float32).astype(np.float64)

    @property
    def auc(self) -> float:
        """Returns P(score of a positive > score of a negative), ties half; NaN where a class is missing."""
        pairs = self.total_positives * self.total_negatives
        return float(np.dot(self.positives, self.negatives_below)) / pairs if pairs else float("nan")

    @property
    def negatives_below(self) -> np.ndarray:
        """Returns the number of negatives with a lower score, and half of those with the same, `(bins,)`."""
        return np.cumsum(self.negatives) - self.negatives / 2

    @property
    def positives_above(self) -> np.ndarray:
        """Returns the number of positives with a higher score, and half of those with the same, `(bins,)`."""
        return self.total_positives - np.cumsum(self.positives) + self.positives / 2


def histogram(bits: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> ScoreHistogram:
    """Returns the histogram of different scores in rising order (`ranking.tie_runs` of one group), all `(scores,)`."""
    return _coarsened(0, bits, positives, negatives)


def merged(parts: Sequence[ScoreHistogram]) -> ScoreHistogram:
    """Returns the histogram of the rows of all parts.

    Raises:
      ValueError: there are none.
    """
    if not parts:
        raise ValueError("parts: expected at least one histogram, got none")
    if len(parts) == 1:
        return parts[0]
    level = max(part.level for part in parts)
    bits = np.concatenate([part.bits >> level << level for part in parts])
    order = np.argsort(bits, kind="stable")
    positives, negatives = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("positives", "negatives")
    )
    return _coarsened(level, bits[order], positives[order], negatives[order])


def _coarsened(level: int, bits: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> ScoreHistogram:
    """Puts equal scores together, at the lowest level that leaves no more than MAX_BINS."""
    starts = _starts(bits >> level)
    while len(starts) > MAX_BINS:
        level += 1
        starts = _starts(bits >> level)
    if not len(bits):
        return ScoreHistogram(level, bits, positives, negatives)
    return ScoreHistogram(
        level, bits[starts] >> level << level, np.add.reduceat(positives, starts), np.add.reduceat(negatives, starts)
    )


def _starts(values: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1]))) if len(values) else np.zeros(0, int)
