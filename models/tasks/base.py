"""The interface of a kind of task: from logits to outputs and losses, and where training starts."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import tensorflow as tf

from schema.spec import Training
from schema.tasks import Task


@dataclass(frozen=True)
class LabelSummary:
    """A task's labels in its sample space.

    Attributes:
      count: how many there are.
      mean, low, high: of the labels; means and deviations are by the examples' weights.
      scale_mean, scale_deviation: mean and standard deviation on the scale of the loss (`TaskKind.to_loss_scale`).
    """

    count: int
    mean: float
    low: float
    high: float
    scale_mean: float = 0.0
    scale_deviation: float = 1.0


class TaskKind(ABC):
    """What training and serving make of a task.

    Args:
      task, training: of the spec.
      deviation: what `deviation` returned of the train labels.

    Attributes:
      is_gaussian: whether the loss is a squared error, the log likelihood of a normal distribution.
    """

    is_gaussian: bool = False

    def __init__(self, task: Task, training: Training, deviation: float):
        self.task, self.training, self.scale = task, training, deviation

    @abstractmethod
    def link(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns the outputs, in the units of the labels and within their domain, of the logits' shape."""

    @abstractmethod
    def loss(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Returns each example's loss, of the labels' and the logits' shape `(batch, 1)`."""

    @abstractmethod
    def starts_from(self, labels: LabelSummary) -> float:
        """Returns the logit that the tower starts from: the best that is the same for all train examples."""

    @abstractmethod
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """Returns what training measures beside the loss, named `<task>/<metric>`; takes labels and logits."""

    def judged_by(self) -> tf.keras.metrics.Metric:
        """Returns what evaluation judges the task by, named `<task>/<metric>`; takes labels and logits.

        The mean squared error in the labels' units, whatever the loss.
        """
        return tf.keras.metrics.MeanMetricWrapper(self.squared_error, name=self.name_of("mse"))

    def squared_error(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Returns each example's squared error, in the units of the labels, of their shape `(batch, 1)`."""
        return tf.square(labels - self.link(logits))

    def to_loss_scale(self, labels: tf.Tensor) -> tf.Tensor:
        """Returns the labels on the scale that the loss is taken on."""
        return labels

    def deviation(self, labels: LabelSummary) -> float:
        """Returns what one unit of the tower's output is on the scale of the logits."""
        return 1.0

    def name_of(self, metric: str) -> str:
        return f"{self.task.name}/{metric}"
