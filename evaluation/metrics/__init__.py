"""The metrics, a class in a file each, and their intervals by user.

A metric of your own is one more class and one more entry of `METRICS`; everything else follows: which tasks it is taken
of, its values, differences and intervals on every slice, its line in the report, its name in TFMA's configuration.
"""

from evaluation.metrics.auc import AUC
from evaluation.metrics.calibration import Calibration
from evaluation.metrics.expected_calibration_error import ExpectedCalibrationError
from evaluation.metrics.grouped_auc import GroupedAUC
from evaluation.metrics.log_loss import LogLoss
from evaluation.metrics.mean_absolute_error import MeanAbsoluteError
from evaluation.metrics.mean_squared_error import MeanSquaredError
from evaluation.metrics.metric import Metric, TaskKind
from evaluation.metrics.mrr import MRR
from evaluation.metrics.ndcg import NDCG

# In the order in which they are shown; the first of a task's is the one that its gate reads.
METRICS: tuple[Metric, ...] = (
    AUC(),
    GroupedAUC(),
    NDCG(),
    MRR(),
    LogLoss(),
    ExpectedCalibrationError(),
    Calibration(),
    MeanSquaredError(),
    MeanAbsoluteError(),
)


def metrics_of(kind: TaskKind) -> tuple[Metric, ...]:
    """Returns the metrics of a task of this kind, in order."""
    return tuple(metric for metric in METRICS if metric.task_kind == kind)


def metric_index(name: str) -> int:
    """Returns where in `METRICS`, and so in arrays over them, the metric of this name is.

    Raises:
      KeyError: there is no such metric.
    """
    for index, metric in enumerate(METRICS):
        if metric.name == name:
            return index
    raise KeyError(f"metric: expected one of {', '.join(metric.name for metric in METRICS)}, got {name!r}")


def metric_named(name: str) -> Metric:
    """Returns the metric of this name.

    Raises:
      KeyError: there is no such metric.
    """
    return METRICS[metric_index(name)]
