"""How well the rates of a statistic order a task's examples by themselves, before anything is trained.

Pure: vectors and labels in, figures out. A rate that orders them nearly as the labels themselves has seen the labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from schema.spec import RankingSpec
from schema.statistics import Rate, Statistic, rates_of, slots, smoothed_rate

# Above it a rate knows more than the past can tell.
_LEAK = 0.95
# Fewer examples, or fewer of the rarer class, reach it by chance.
_FEW = 20


@dataclass(frozen=True)
class Alone:
    """What a rate is worth to a task.

    Attributes:
      span: over which the rate is taken.
      value: a binary task's AUC; a regression's rank correlation (Spearman's). NaN where it is undefined.
      examples: of a binary task those of the rarer class, of a regression all in its space.
    """

    task: str
    span: str
    is_binary: bool
    value: float
    examples: int

    @property
    def leaks(self) -> bool:
        """Returns whether the rate knows the labels, as far as so many examples can tell."""
        return self.value > _LEAK and self.examples >= _FEW

    @property
    def measure(self) -> str:
        """Returns the name of what `value` is."""
        return "AUC" if self.is_binary else "rank correlation"


def priors_of(labels: Mapping[str, np.ndarray], spaces: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns each task's mean label in its space, 0 where the space is empty."""
    return {
        task: float(label[spaces[task] > 0].mean(dtype=np.float64)) if (spaces[task] > 0).any() else 0.0
        for task, label in labels.items()
    }


def alone(
    spec: RankingSpec,
    statistic: Statistic,
    vectors: np.ndarray,
    labels: Mapping[str, np.ndarray],
    spaces: Mapping[str, np.ndarray],
    priors: Mapping[str, float],
) -> list[Alone]:
    """Returns for each task of the statistic and each span what the smoothed rate is worth, by span.

    Args:
      vectors: float32 [examples, slots]; a missing key (NaN) is no news, as in the model.
      labels, spaces: of each task, [examples].
      priors: of each task, the rate that is no news.
    """
    strength = spec.statistics.prior_strength if spec.statistics else 0.0
    names = [slot.name for slot in slots(spec, statistic)]
    result = []
    for rate in rates_of(spec, statistic):
        if rate.task is None:
            continue
        task = rate.task.name
        within = spaces[task] > 0
        news = _smoothed(rate, names, vectors[within], strength, priors[task])
        result.append(_worth(rate, news, labels[task][within]))
    return result


def best(values: Sequence[Alone]) -> dict[str, Alone]:
    """Returns of each task the span whose rate is worth most."""
    result: dict[str, Alone] = {}
    for candidate in values:
        present = result.get(candidate.task)
        if present is None or np.isnan(present.value) or candidate.value > present.value:
            result[candidate.task] = candidate
    return result


def _smoothed(rate: Rate, names: Sequence[str], vectors: np.ndarray, strength: float, prior: float) -> np.ndarray:
    # A missing key is made like one that was never seen: equal to the bit, so that both are ties.
    columns = np.nan_to_num(vectors[:, [names.index(rate.sum.name), names.index(rate.count.name)]].astype(np.float64))
    return smoothed_rate(columns[:, 0], columns[:, 1], prior, strength)


def _worth(rate: Rate, news: np.ndarray, label: np.ndarray) -> Alone:
    assert rate.task is not None
    if rate.is_binary:
        positive = label > 0
        rarer = int(min(positive.sum(), (~positive).sum()))
        return Alone(rate.task.name, rate.sum.span, True, area_under_curve(news, positive), rarer)
    return Alone(rate.task.name, rate.sum.span, False, rank_correlation(news, label), len(label))


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float:
    """Returns P(score of a positive > score of a negative), ties half; NaN where a class is missing."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    above = _mid_ranks(scores)[positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Returns Spearman's rank correlation, ties at their mean rank; NaN where either is constant."""
    if len(left) == 0:
        return float("nan")
    left_ranks, right_ranks = (ranks - ranks.mean() for ranks in (_mid_ranks(left), _mid_ranks(right)))
    scale = np.sqrt((left_ranks @ left_ranks) * (right_ranks @ right_ranks))
    return float(left_ranks @ right_ranks / scale) if scale else float("nan")


def _mid_ranks(values: np.ndarray) -> np.ndarray:
    """Returns each value's rank, from 1; equal ones share their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
