"""Regressions without bounds, such as seconds of watch time: a number in the label's units."""

import tensorflow as tf

from models.tasks.base import LabelSummary, TaskKind
from models.tasks.explained_variance import ExplainedVariance

# Of log(1 + y): the output stays a finite float32, below 2e38.
_HIGHEST_LOGARITHM = 88.0


class Unbounded(TaskKind):
    """Squared or Huber loss on the scale `t` of the task's `transform`, in deviations s of the train labels there.

        t(y) = y                   link(z) = z                      transform: none
        t(y) = log(1 + y)          link(z) = exp(max(z, 0)) - 1     transform: log1p

        d = (z - t(y)) / s
        squared:  d^2              Huber:  d^2 / 2  where |d| <= 1,  |d| - 1/2  beyond

    In deviations, the loss of the mean is about 1 and its gradient by the tower's output `z / s` is about as large as
    cross-entropy's, whatever the units. The output of log1p is `exp(E log(1 + y)) - 1`, nearer to the median than to
    the mean of skewed labels.
    """

    @property
    def is_gaussian(self) -> bool:  # type: ignore[override]
        return self.task.loss == "squared"

    @property
    def is_logarithmic(self) -> bool:
        return self.task.transform == "log1p"

    def link(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.math.expm1(tf.clip_by_value(logits, 0.0, _HIGHEST_LOGARITHM)) if self.is_logarithmic else logits

    def loss(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        distance = (logits - self.to_loss_scale(labels)) / self.scale
        if self.task.loss == "squared":
            return tf.square(distance)
        absolute = tf.abs(distance)
        return tf.where(absolute <= 1.0, tf.square(distance) / 2.0, absolute - 0.5)

    def starts_from(self, labels: LabelSummary) -> float:
        return labels.scale_mean

    def metrics(self) -> list[tf.keras.metrics.Metric]:
        of_outputs: list[tf.keras.metrics.Metric] = [
            self.judged_by(),
            tf.keras.metrics.MeanMetricWrapper(self._absolute_error, name=self.name_of("mae")),
        ]
        if self.training.stop_by == "metrics":
            of_outputs.append(ExplainedVariance(self.link, self.name_of("r2")))
        return of_outputs

    def to_loss_scale(self, labels: tf.Tensor) -> tf.Tensor:
        return tf.math.log1p(labels) if self.is_logarithmic else labels

    def deviation(self, labels: LabelSummary) -> float:
        return labels.scale_deviation if labels.scale_deviation > 0 else 1.0

    def _absolute_error(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return tf.abs(labels - self.link(logits))
