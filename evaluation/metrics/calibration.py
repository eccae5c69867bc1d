"""Whether as much is predicted as happens."""

from evaluation.metrics.metric import PerUser, RatioMetric, TfmaMetric
from evaluation.metrics.task_rows import TaskRows


class Calibration(RatioMetric):
    """The sum of the predictions by the sum of the labels, best at 1; undefined without a positive."""

    name = "calibration"
    label = "calibration"
    higher_is_better = None
    task_kind = "binary"
    tfma = TfmaMetric("Calibration")

    def per_user(self, rows: TaskRows) -> PerUser:
        return PerUser(rows.sum_by_group(rows.probabilities), rows.positives, rows.examples > 0)
