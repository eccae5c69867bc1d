"""The AUC of all pairs of a positive and a negative, whoever's they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.metrics.histogram import ScoreHistogram
from evaluation.metrics.metric import Metric, MetricTotals, TfmaMetric
from evaluation.metrics.ranking import score_bits
from evaluation.metrics.task_rows import TaskRows


class AUC(Metric):
    """P(score of a positive > score of a negative), ties half; undefined where a class is missing.

    It is no ratio of sums over users: its value comes from the histograms, and a user's influence is that of the user's
    rows (the clustered DeLong variance of Obuchowski 1997).
    """

    name = "auc"
    label = "AUC"
    higher_is_better = True
    task_kind = "binary"
    sum_count = 0
    tfma = TfmaMetric("AUC")

    def sums(self, rows: TaskRows) -> np.ndarray:
        return np.zeros((rows.slices, 0))

    def value(self, totals: MetricTotals) -> np.ndarray:
        return np.array([histogram.auc for histogram in totals.histograms])

    def influence(self, rows: TaskRows, totals: MetricTotals, value: np.ndarray) -> np.ndarray:
        table = _pair_table(totals.histograms)
        level = table.levels[rows.slice]
        key = rows.slice.astype(np.uint64) << np.uint64(32) | (score_bits(rows.scores) >> level << level)
        index = np.searchsorted(table.keys, key)
        with np.errstate(invalid="ignore", divide="ignore"):
            of_rows = _row_influence(
                rows.is_positive,
                table.negatives_below[index],
                table.positives_above[index],
                table.positives[rows.slice],
                table.negatives[rows.slice],
                value[rows.slice],
            )
        return rows.sum_by_group(of_rows)


def _row_influence(
    is_positive: np.ndarray,
    negatives_below: np.ndarray,
    positives_above: np.ndarray,
    positives: np.ndarray,
    negatives: np.ndarray,
    auc: np.ndarray,
) -> np.ndarray:
    """Returns each row's influence on the AUC `(rows,)`; a user's is the sum of its rows'.

    Args:
      negatives_below, positives_above: of each row, how many of the other class are on the right side of it, ties half.
      positives, negatives, auc: of the row's slice.
    """
    right = np.where(is_positive, negatives_below / negatives, positives_above / positives)
    return (right - auc) / np.where(is_positive, positives, negatives)


@dataclass(frozen=True)
class _PairTable:
    """The histograms of all slices as one sorted table, keyed by slice and score."""

    keys: np.ndarray
    levels: np.ndarray
    negatives_below: np.ndarray
    positives_above: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray


def _pair_table(histograms: Sequence[ScoreHistogram]) -> _PairTable:
    return _PairTable(
        np.concatenate([np.uint64(s) << np.uint64(32) | histogram.bits for s, histogram in enumerate(histograms)]),
        np.array([histogram.level for histogram in histograms], np.uint32),
        np.concatenate([histogram.negatives_below for histogram in histograms]),
        np.concatenate([histogram.positives_above for histogram in histograms]),
        np.array([histogram.total_positives for histogram in histograms]),
        np.array([histogram.total_negatives for histogram in histograms]),
    )
