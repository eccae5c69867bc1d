"""The mean absolute error of a regression."""

from evaluation.metrics.metric import PerUser, RatioMetric, TfmaMetric
from evaluation.metrics.task_rows import TaskRows


class MeanAbsoluteError(RatioMetric):
    """The mean over examples of |score - label|."""

    name = "mean_absolute_error"
    label = "MAE"
    higher_is_better = False
    task_kind = "regression"
    tfma = TfmaMetric("MeanAbsoluteError")

    def per_user(self, rows: TaskRows) -> PerUser:
        absolute = abs(rows.probabilities - rows.labels)
        return PerUser(rows.sum_by_group(absolute), rows.examples, rows.examples > 0)
