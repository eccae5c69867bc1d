"""The moving average of a ranker's weights, which is evaluated and saved in their place."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import tensorflow as tf

from models.ranker import Ranker

# How often tables are averaged of which a step updates a few rows: averaging reads and writes all of them.
TABLE_STEPS = 64


class WeightAverages:
    """`a <- d_t a + (1 - d_t) w` of each weight w after step t, from 0 on, with `d_t = min(decay, (1 + t) / (10 + t))`.

    The rise of `d_t` keeps the weights that training started from out of the average. Embedding tables that are updated
    by rows are averaged every `TABLE_STEPS` steps, and at the end of an epoch, as if they had last moved then.

    Args:
      model: the ranker, whose weights must exist; the averages start from them.

    Attributes:
      state: the variables that a checkpoint needs beside the weights' and the optimiser's.
    """

    def __init__(self, model: Ranker):
        self.model, self.decay = model, model.spec.training.averaging
        by_rows = {table.ref() for table in model.embedding_tables()} if model.sparse_tables else set()
        with model.distribute_strategy.scope():
            pairs = [(tf.Variable(weight, trainable=False), weight) for weight in model.trainable_variables]
            # The step up to which the tables are averaged.
            self.table_step = tf.Variable(0, trainable=False, dtype=tf.int64)
        self._by_step = [pair for pair in pairs if pair[1].ref() not in by_rows]
        self._by_interval = [pair for pair in pairs if pair[1].ref() in by_rows]
        self.state = [*(average for average, _ in pairs), self.table_step]

    @classmethod
    def of(cls, model: Ranker) -> Self | None:
        """Returns the averages that the ranker's spec asks for; None if it asks for none."""
        return cls(model) if model.spec.training.averaging else None

    def update(self) -> None:
        """Averages the weights that a step of the optimiser has left; called outside of any replica."""
        steps = tf.identity(self.model.steps_done())
        _move(self._by_step, self._decay(steps - 1))
        if self._by_interval:
            tf.cond(steps - self.table_step >= TABLE_STEPS, self._catch_up, lambda: steps)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Gives the ranker the averages for its weights; afterwards it has its own again."""
        self._catch_up()
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def swap(self) -> None:
        """Exchanges the ranker's weights with their averages."""
        for average, weight in (*self._by_step, *self._by_interval):
            latest = tf.identity(weight)
            weight.assign(tf.identity(average))
            average.assign(latest)

    def _catch_up(self) -> tf.Tensor:
        """Averages what isn't averaged at every step; returns the steps done."""
        steps = tf.identity(self.model.steps_done())
        if self._by_interval:
            # 1, where there has been no step since.
            _move(self._by_interval, tf.reduce_prod(self._decay(tf.range(self.table_step, steps))))
            self.table_step.assign(steps)
        return steps

    def _decay(self, step: tf.Tensor) -> tf.Tensor:
        t = tf.cast(step, tf.float32)
        return tf.minimum(self.decay, (1.0 + t) / (10.0 + t))


def _move(pairs: Sequence[tuple[tf.Variable, tf.Variable]], decay: tf.Tensor) -> None:
    for average, weight in pairs:
        average.assign_sub((1.0 - decay) * (average - weight))
