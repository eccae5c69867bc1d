"""Binary tasks: a probability, by cross-entropy."""

import math

import tensorflow as tf

from models.tasks.base import LabelSummary, TaskKind
from models.tasks.bucketed_auc import BucketedAUC

# How far from 0 and 1 the base rate is taken to be: its log odds are finite.
_LEAST_RATE = 1e-4


class Binary(TaskKind):
    """`p = sigmoid(z)`, `loss = -y log p - (1 - y) log(1 - p)`."""

    def link(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(logits)

    def loss(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)

    def starts_from(self, labels: LabelSummary) -> float:
        return log_odds(labels.mean)

    def metrics(self) -> list[tf.keras.metrics.Metric]:
        return [self.judged_by()]

    def judged_by(self) -> tf.keras.metrics.Metric:
        return BucketedAUC(self.name_of("auc"))


def log_odds(rate: float) -> float:
    """Returns the logit of a rate in [0, 1], which is kept away from both ends."""
    clipped = min(max(rate, _LEAST_RATE), 1 - _LEAST_RATE)
    return math.log(clipped / (1 - clipped))
