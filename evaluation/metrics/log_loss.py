"""The binary cross-entropy."""

import numpy as np

from evaluation.metrics.metric import PerUser, RatioMetric, TfmaMetric
from evaluation.metrics.task_rows import TaskRows

# What Keras clips probabilities to.
EPSILON = 1e-7


class LogLoss(RatioMetric):
    """The mean over examples of -log of the probability that the model gave to what happened."""

    name = "binary_crossentropy"
    label = "log loss"
    higher_is_better = False
    task_kind = "binary"
    tfma = TfmaMetric("BinaryCrossEntropy")

    def per_user(self, rows: TaskRows) -> PerUser:
        clipped = np.clip(rows.probabilities, EPSILON, 1 - EPSILON)
        loss = -np.log(np.where(rows.is_positive, clipped, 1 - clipped))
        return PerUser(rows.sum_by_group(loss), rows.examples, rows.examples > 0)
