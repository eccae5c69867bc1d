"""The tasks' losses: averaged over sample spaces, weighted by schedules (PLE, eq. 8-10), measured by loss and AUC."""

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.distribution import all_reduce_sum
from models.explained_variance import ExplainedVariance
from schema.spec import Task, Training, Weight

# Enough for rare labels, whose probabilities all lie in a small part of [0, 1].
AUC_THRESHOLDS = 10_000


class SampleSpaceMean(tf.keras.losses.Loss):
    """Averages over the sample space (PLE, eq. 9), 0 where it is empty: `L_k = sum_i d_ki loss_k(i) / sum_i d_ki`.

    Keras would divide the weighted sum by the batch size, and a task with a small space would hardly count. The batch
    is that of all replicas, where training is distributed.

    Call with labels and predictions `(batch, 1)` and `sample_weight` d `(batch,)` of 0s and 1s; gives a scalar.
    """

    def __init__(self, elementwise, name: str | None = None):
        super().__init__(reduction=tf.keras.losses.Reduction.NONE, name=name)
        self.elementwise = elementwise

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return self.elementwise(y_true, y_pred)

    def __call__(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> tf.Tensor:
        losses = tf.reshape(self.call(y_true, y_pred), [-1])
        space = (
            tf.ones_like(losses) if sample_weight is None else tf.cast(tf.reshape(sample_weight, [-1]), losses.dtype)
        )
        return tf.math.divide_no_nan(*all_reduce_sum(tf.reduce_sum(space * losses), tf.reduce_sum(space)))


def elementwise_loss(task: Task, training: Training):
    """Returns a task's loss of labels and logits: a ratio's is `training.ratio_loss`.

    Cross-entropy takes a ratio for a probability, and its gradient is `p - label`, as that of a binary task; that of
    the squared error is `2 p (1 - p)` times it, little where ratios are near 0 or 1.
    """
    return _squared_error if task.is_regression and training.ratio_loss == "squared" else _log_loss


def _log_loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)


def _squared_error(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.square(labels - tf.sigmoid(logits))


class RankingTask(tfrs.tasks.Ranking):
    """One task: cross-entropy of its logit, or for a ratio the squared error of its sigmoid (`elementwise_loss`).

    Call with labels `(batch,)`, logits `(batch, 1)` and `sample_weight`, the task's sample space `(batch,)`; gives
    `L_k`, the mean over the space. What a label holds outside of it is not read. The metrics `<task>/loss` and
    `<task>/auc` accumulate over batches, each example of the space counting once; so does `<task>/r2` of a ratio, where
    training stops by metrics.
    """

    def __init__(self, task: Task, training: Training = Training()):  # noqa: B008 (it is frozen)
        elementwise = elementwise_loss(task, training)
        metrics = [tf.keras.metrics.MeanMetricWrapper(elementwise, name=f"{task.name}/loss")]
        if not task.is_regression:
            metrics.append(tf.keras.metrics.AUC(AUC_THRESHOLDS, from_logits=True, name=f"{task.name}/auc"))
        elif training.stop_by == "metrics":
            metrics.append(ExplainedVariance(name=f"{task.name}/r2"))
        super().__init__(loss=SampleSpaceMean(elementwise), metrics=metrics, name=f"task_{task.name}")
        self.weight = task.weight

    def call(self, labels, predictions, sample_weight=None, training=False, compute_metrics=True) -> tf.Tensor:
        labels = tf.reshape(labels, [-1, 1])
        if sample_weight is not None:
            sample_weight = tf.reshape(sample_weight, [-1, 1])
            labels = tf.where(sample_weight > 0, labels, 0.0)
        return super().call(labels, predictions, sample_weight, training=training, compute_metrics=compute_metrics)


def loss_weight(weight: Weight, epoch: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Returns `w(t) = w_0 g^t` (PLE, eq. 10), where t counts epochs or steps from 0."""
    t = tf.cast(epoch if weight.unit == "epoch" else step, tf.float32)
    return weight.initial * tf.pow(tf.constant(weight.decay, tf.float32), t)
