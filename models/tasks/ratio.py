"""Ratios: an expected value in [0, 1], by squared error or cross-entropy."""

import tensorflow as tf

from models.tasks.base import LabelSummary, TaskKind
from models.tasks.binary import log_odds
from models.tasks.explained_variance import ExplainedVariance


class Ratio(TaskKind):
    """`r = sigmoid(z)`; the loss is `training.ratio_loss`.

    Cross-entropy takes a ratio for a probability, and its gradient is `r - y`, as that of a binary task; that of the
    squared error `(r - y)^2` is `2 r (1 - r)` times it, little where ratios are near 0 or 1.
    """

    @property
    def is_gaussian(self) -> bool:  # type: ignore[override]
        return self.training.ratio_loss == "squared"

    def link(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(logits)

    def loss(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        if self.is_gaussian:
            return tf.square(labels - tf.sigmoid(logits))
        return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)

    def starts_from(self, labels: LabelSummary) -> float:
        return log_odds(labels.mean)

    def metrics(self) -> list[tf.keras.metrics.Metric]:
        return [ExplainedVariance(tf.sigmoid, self.name_of("r2"))] if self.training.stop_by == "metrics" else []
