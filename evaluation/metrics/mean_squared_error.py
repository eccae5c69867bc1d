"""The mean squared error of a regression."""

from evaluation.metrics.metric import PerUser, RatioMetric, TfmaMetric
from evaluation.metrics.task_rows import TaskRows


class MeanSquaredError(RatioMetric):
    """The mean over examples of (score - label)^2."""

    name = "mean_squared_error"
    label = "MSE"
    higher_is_better = False
    task_kind = "regression"
    tfma = TfmaMetric("MeanSquaredError")

    def per_user(self, rows: TaskRows) -> PerUser:
        squared = (rows.probabilities - rows.labels) ** 2
        return PerUser(rows.sum_by_group(squared), rows.examples, rows.examples > 0)
