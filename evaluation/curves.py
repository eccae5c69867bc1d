"""Calibration, ROC and precision-recall curves from the histograms of scores, thinned to what a plot can show."""

import numpy as np

from evaluation.metrics.histogram import ScoreHistogram
from evaluation.plan import Plan
from evaluation.result import CalibrationPoint, Curves
from evaluation.totals import SliceTotals

POINTS = 200
CALIBRATION_BINS = 20


def curves(totals: SliceTotals, plan: Plan) -> tuple[Curves, ...]:
    """Returns the curves of every binary task and model, where there are both classes."""
    return tuple(
        Curves(task.name, plan.models[m].name, calibration(histogram), roc(histogram), precision_recall(histogram))
        for t, task in enumerate(plan.tasks)
        for m, histogram in enumerate(totals.histograms[t])
        if histogram is not None and histogram.total_positives and histogram.total_negatives
    )


def calibration(histogram: ScoreHistogram) -> tuple[CalibrationPoint, ...]:
    """Returns bins of about as many examples each, by rising score."""
    examples = histogram.positives + histogram.negatives
    middle = np.cumsum(examples) - examples / 2
    bins = np.minimum((middle / examples.sum() * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    sums = [
        np.bincount(bins, weights, CALIBRATION_BINS)
        for weights in (examples, histogram.scores * examples, histogram.positives)
    ]
    return tuple(
        CalibrationPoint(round(count), float(score / count), float(positives / count))
        for count, score, positives in zip(*sums, strict=True)
        if count
    )


def roc(histogram: ScoreHistogram) -> tuple[tuple[float, float], ...]:
    """Returns (false-positive rate, true-positive rate) at falling thresholds."""
    hits, alarms = _above(histogram)
    return _thinned(alarms / histogram.total_negatives, hits / histogram.total_positives)


def precision_recall(histogram: ScoreHistogram) -> tuple[tuple[float, float], ...]:
    """Returns (recall, precision) at falling thresholds."""
    hits, alarms = _above(histogram)
    return _thinned(hits[1:] / histogram.total_positives, hits[1:] / (hits[1:] + alarms[1:]))


def _above(histogram: ScoreHistogram) -> tuple[np.ndarray, np.ndarray]:
    """Returns how many positives and negatives lie above each threshold, from none to all."""
    hits, alarms = (
        np.concatenate(([0], np.cumsum(counts[::-1]))) for counts in (histogram.positives, histogram.negatives)
    )
    return hits, alarms


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Returns some POINTS of the points, about evenly along x; the first and the last stay."""
    if len(x) > POINTS:
        indices = np.unique(np.searchsorted(x, np.linspace(x[0], x[-1], POINTS)))
        indices = np.unique(np.concatenate(([0], np.minimum(indices, len(x) - 1), [len(x) - 1])))[-POINTS - 2 :]
        x, y = x[indices], y[indices]
    return tuple((round(a, 6), round(b, 6)) for a, b in zip(x.tolist(), y.tolist(), strict=True))
