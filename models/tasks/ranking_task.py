"""The tasks' losses: averaged over sample spaces, weighted by schedules (PLE, eq. 8-10), and their metrics."""

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.distribution import all_reduce_sum
from models.tasks import kind_of
from schema.spec import Training
from schema.tasks import Task, Weight


class SampleSpaceMean(tf.keras.losses.Loss):
    """Averages over the sample space (PLE, eq. 9), 0 where it is empty: `L_k = sum_i d_ki loss_k(i) / sum_i d_ki`.

    An example that counts for w has `d_ki = w` in the space, so that 2 is as if it were there twice.

    Keras would divide the weighted sum by the batch size, and a task with a small space would hardly count. The batch
    is that of all replicas, where training is distributed.

    Call with labels and predictions `(batch, 1)` and `sample_weight` d `(batch,)`, 0 outside; gives a scalar.
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


class RankingTask(tfrs.tasks.Ranking):
    """One task: the loss of its logits by its kind (`models.tasks`).

    Call with labels `(batch,)`, logits `(batch, 1)` and `sample_weight`, the task's sample space `(batch,)`; gives
    `L_k`, the mean over the space. What a label holds outside of it is not read. The metrics `<task>/loss` and the
    kind's own, such as `<task>/auc`, accumulate over batches, each example of the space counting for its weight.

    Args:
      deviation: what the kind said of the train labels (`TaskKind.deviation`).
    """

    def __init__(self, task: Task, training: Training = Training(), deviation: float = 1.0):  # noqa: B008 (it is frozen)
        kind = kind_of(task, training, deviation)
        metrics = [tf.keras.metrics.MeanMetricWrapper(kind.loss, name=kind.name_of("loss")), *kind.metrics()]
        super().__init__(loss=SampleSpaceMean(kind.loss), metrics=metrics, name=f"task_{task.name}")
        self.kind = kind
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
