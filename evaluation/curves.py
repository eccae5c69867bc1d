"""Calibration, ROC and precision-recall curves from the histograms of scores, thinned to what a plot can show."""

import numpy as np

from evaluation.metrics.histogram import ScoreHistogram
from evaluation.plan import Plan
from evaluation.result import CalibrationPoint, Curves
from evaluation.totals import SliceTotals

POINTS = 200
CALIBRATION_BINS = 20


def curves(totals: SliceTotals, plan: Plan) -> tuple[Curves, ...]:
    """Of every binary task's models that have both classes."""
    return tuple(
        Curves(task.name, plan.models[m].name, calibration(own), roc(own), precision_recall(own))
        for t, task in enumerate(plan.tasks)
        for m, own in enumerate(totals.histograms[t])
        if own is not None and own.total_positives and own.total_negatives
    )


def calibration(own: ScoreHistogram) -> tuple[CalibrationPoint, ...]:
    """Bins of about as many examples each, by rising score."""
    examples = own.positives + own.negatives
    middle = np.cumsum(examples) - examples / 2
    bins = np.minimum((middle / examples.sum() * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    sums = [
        np.bincount(bins, weights, CALIBRATION_BINS) for weights in (examples, own.scores * examples, own.positives)
    ]
    return tuple(
        CalibrationPoint(int(count), float(score / count), float(positives / count))
        for count, score, positives in zip(*sums, strict=True)
        if count
    )


def roc(own: ScoreHistogram) -> tuple[tuple[float, float], ...]:
    hits, alarms = _above(own)
    return _thinned(alarms / own.total_negatives, hits / own.total_positives)


def precision_recall(own: ScoreHistogram) -> tuple[tuple[float, float], ...]:
    hits, alarms = _above(own)
    return _thinned(hits[1:] / own.total_positives, hits[1:] / (hits[1:] + alarms[1:]))


def _above(own: ScoreHistogram) -> tuple[np.ndarray, np.ndarray]:
    """How many positives and negatives lie above each threshold, from none to all."""
    hits, alarms = (np.concatenate(([0], np.cumsum(counts[::-1]))) for counts in (own.positives, own.negatives))
    return hits, alarms


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[tuple[float, float], ...]:
    """At most POINTS of the points, about evenly along x; the first and the last stay."""
    if len(x) > POINTS:
        kept = np.unique(np.searchsorted(x, np.linspace(x[0], x[-1], POINTS)))
        kept = np.unique(np.concatenate(([0], np.minimum(kept, len(x) - 1), [len(x) - 1])))[-POINTS - 2 :]
        x, y = x[kept], y[kept]
    return tuple((round(a, 6), round(b, 6)) for a, b in zip(x.tolist(), y.tolist(), strict=True))
