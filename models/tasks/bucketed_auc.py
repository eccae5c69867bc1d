"""The area under the ROC curve, from counts of examples by their output."""

import tensorflow as tf

# Enough for rare labels, whose probabilities all lie in a small part of [0, 1].
BUCKETS = 9_999


class BucketedAUC(tf.keras.metrics.Metric):
    """The AUC of outputs `sigmoid(z)`, of which those in the same of `BUCKETS` equal parts of [0, 1] count as equal.

    A batch adds to the count of one bucket an example; what lies below each threshold is summed once, when the result
    is asked for. Keras' `AUC`, of as many thresholds, sums it at every batch, which takes much of a training step. The
    two are equal. Without a positive or a negative example it is 0.

    Update with labels of 0 and 1 and logits, `(batch, 1)`, and `sample_weight`, the task's sample space.
    """

    def __init__(self, name: str = "auc", **kwargs):
        super().__init__(name=name, **kwargs)
        # Of the negative examples, then of the positive ones.
        self.counts = self.add_weight(name="counts", shape=(2 * BUCKETS,), initializer="zeros")

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        outputs, labels = (tf.reshape(x, [-1]) for x in (tf.sigmoid(y_pred), y_true))
        weights = tf.ones_like(labels) if sample_weight is None else tf.reshape(sample_weight, [-1])
        # A bucket begins above its lower threshold; 0 is in the first.
        buckets = tf.cast(tf.nn.relu(tf.math.ceil(outputs * BUCKETS) - 1.0), tf.int32)
        places = tf.where(labels > 0.0, buckets + BUCKETS, buckets)
        self.counts.assign_add(tf.math.unsorted_segment_sum(weights, places, 2 * BUCKETS))

    def result(self) -> tf.Tensor:
        negatives, positives = tf.unstack(tf.reshape(self.counts, [2, BUCKETS]))
        below = tf.cumsum(negatives, exclusive=True)
        # A pair in the same bucket counts as one half.
        ordered = tf.reduce_sum(positives * (below + negatives / 2.0))
        return tf.math.divide_no_nan(ordered, tf.reduce_sum(positives) * tf.reduce_sum(negatives))

    def reset_state(self) -> None:
        self.counts.assign(tf.zeros_like(self.counts))
