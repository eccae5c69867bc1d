"""The expected calibration error: how far predictions are from what happens, bin by bin."""

import numpy as np

from evaluation.metrics.metric import Metric, MetricTotals, TfmaMetric
from evaluation.metrics.task_rows import TaskRows

# Of equal width. Feedback is rare: ten bins would put nearly everything into the first.
ECE_BINS = 100


def calibration_bins(scores: np.ndarray, bins: int = ECE_BINS) -> np.ndarray:
    """Returns the bin of each score in [0, 1], int64 of the same shape; 1 falls into the last one."""
    return np.minimum((np.asarray(scores, np.float64) * bins).astype(np.int64), bins - 1)


class ExpectedCalibrationError(Metric):
    """The mean over examples of |mean score - mean label| of their bin, of equal width (Guo et al. 2017).

    Its sums are those of score - label by bin. It is no ratio of sums over users: a user's influence goes by the sign
    of the gap of all users' in each bin.
    """

    name = "expected_calibration_error"
    label = "ECE"
    higher_is_better = False
    task_kind = "binary"
    sum_count = ECE_BINS
    tfma = TfmaMetric("ExpectedCalibrationError", "evaluation.tfma.calibration_error")

    def sums(self, rows: TaskRows) -> np.ndarray:
        gaps = np.bincount(_cells(rows), rows.weighted(rows.scores - rows.labels), rows.slices * ECE_BINS)
        return gaps.reshape(rows.slices, ECE_BINS)

    def value(self, totals: MetricTotals) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.abs(totals.sums).sum(axis=-1) / totals.examples

    def influence(self, rows: TaskRows, totals: MetricTotals, value: np.ndarray) -> np.ndarray:
        sign = np.sign(totals.sums).ravel()
        gap = sign[_cells(rows)] * (rows.probabilities - rows.labels)
        with np.errstate(invalid="ignore", divide="ignore"):
            of_rows = (gap - value[rows.slice]) / totals.examples[rows.slice].astype(np.float64)
        return rows.sum_by_group(of_rows)


def _cells(rows: TaskRows) -> np.ndarray:
    """Returns the (slice, bin) of each row as one number, `(rows,)`."""
    return rows.slice * ECE_BINS + calibration_bins(rows.scores)
