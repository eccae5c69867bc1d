"""How much of a regression's labels a model explains: the metric that stands beside a binary task's AUC."""

from collections.abc import Callable

import tensorflow as tf


class ExplainedVariance(tf.keras.metrics.Metric):
    """`1 - MSE / Var(y)` of a regression, whose outputs are `link(logits)`; 0 where the labels don't vary.

    1 is the best, 0 what the labels' mean has. Update with labels and logits `(batch, 1)` and `sample_weight`, the
    task's sample space.
    """

    def __init__(self, link: Callable[[tf.Tensor], tf.Tensor], name: str = "r2", **kwargs):
        super().__init__(name=name, **kwargs)
        self.link = link
        names = ("rows", "label_sum", "label_squares", "error_squares")
        self.rows, self.label_sum, self.label_squares, self.error_squares = (
            self.add_weight(name=sum_name, initializer="zeros") for sum_name in names
        )

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        weights = tf.ones_like(y_true) if sample_weight is None else tf.cast(sample_weight, y_true.dtype)
        self.rows.assign_add(tf.reduce_sum(weights))
        self.label_sum.assign_add(tf.reduce_sum(weights * y_true))
        self.label_squares.assign_add(tf.reduce_sum(weights * tf.square(y_true)))
        self.error_squares.assign_add(tf.reduce_sum(weights * tf.square(y_true - self.link(y_pred))))

    def result(self) -> tf.Tensor:
        variance = self.label_squares - tf.math.divide_no_nan(tf.square(self.label_sum), self.rows)
        return tf.where(variance > 0.0, 1.0 - tf.math.divide_no_nan(self.error_squares, variance), 0.0)
