"""A ranker without a pipeline around it: arrays in memory, one embedding table, any routing, compiled as a whole.

The routings, towers and their sizes are those of `models`; what is compact is how the data get to them.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf

from models.layers import Towers
from models.routing import check_routing
from schema.spec import Model

Loss = Literal["log_loss", "squared_error"]


@dataclass(frozen=True)
class Rows:
    """Examples as arrays.

    Attributes:
      ids: `(rows, columns)`, places in the one embedding table of all columns.
      numbers: `(rows, numbers)`, scaled.
      labels: `(rows, tasks)`.
    """

    ids: np.ndarray
    numbers: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: slice) -> "Rows":
        return Rows(self.ids[rows], self.numbers[rows], self.labels[rows])


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: Adam with a rate that falls to 0 along a cosine, evaluated with averaged weights.

    Attributes:
      decay: whether the rate falls; it is constant otherwise.
      averaging: the momentum of the exponential moving average of the weights that are evaluated; None: as they are.
      steps_per_call: training steps in one call of the compiled function, as a call costs a millisecond or two.
    """

    epochs: int = 6
    batch_size: int = 1024
    learning_rate: float = 1e-3
    decay: bool = True
    averaging: float | None = 0.99
    weight_decay: float = 0.0
    steps_per_call: int = 16


class CompactRanker(tf.keras.Model):
    """`ids` and `numbers` -> embeddings -> routing -> towers -> one output a task, `(batch, tasks)`: logits, or values.

    Args:
      routing: a name in `models.routing.ROUTINGS`.
      shape: the sizes of the routing and the towers.
      tasks: how many tasks.
      table_rows: rows of the embedding table that all columns share, each with its own range of it; 0 without ids.
      output_bias: what each task starts from.
    """

    def __init__(
        self, routing: str, shape: Model, tasks: int, table_rows: int = 0, output_bias: Sequence[float] | None = None
    ):
        super().__init__()
        factory = check_routing(routing)
        self.table_rows, self.embedding_dim = table_rows, shape.embedding_dim
        tables = {"shared": 1, "own": tasks, "own_and_shared": tasks + 1}[factory.tables]
        self.tables = tables if table_rows else 0
        self.routing = factory.build(shape, tasks)
        self.towers = Towers(tasks, shape.tower_units, output_bias)

    def build(self, input_shape) -> None:
        shape = (self.table_rows, self.embedding_dim)
        self.embeddings = [
            self.add_weight(name=f"embeddings_{i}", shape=shape, initializer="uniform") for i in range(self.tables)
        ]
        self.built = True

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        ids, numbers = inputs
        width = int(ids.shape[-1]) * self.embedding_dim
        embedded = [tf.reshape(tf.gather(table, ids), [-1, width]) for table in self.embeddings]
        encoded = [tf.concat([vectors, numbers], axis=-1) for vectors in embedded] or [numbers]
        return tf.concat(self.towers(self.routing(encoded if len(encoded) > 1 else encoded[0])), axis=-1)

    def flops_per_example(self) -> int:
        """Floating-point operations of a training step's matmuls: a multiplication and an addition per weight, forwards
        and for each of the two gradients. Embeddings and biases aren't matmuls.
        """
        kernels = [*self.routing.trainable_variables, *self.towers.trainable_variables]
        return 6 * sum(int(np.prod(kernel.shape)) for kernel in kernels if "kernel" in kernel.name)


class Training:
    """A model with its optimiser and compiled steps.

    Raises:
      ValueError: fewer rows than one call of the compiled function takes.
    """

    def __init__(self, model: CompactRanker, rows: Rows, recipe: Recipe, loss: Loss = "log_loss", seed: int = 0):
        self.rows_per_call = recipe.steps_per_call * recipe.batch_size
        if len(rows) < self.rows_per_call:
            raise ValueError(f"rows: expected at least {self.rows_per_call}, which one call takes, got {len(rows)}")
        self.model, self.rows, self.recipe, self.loss = model, rows, recipe, loss
        self.random = np.random.default_rng(seed)
        self.calls = len(rows) // self.rows_per_call
        self.rows_per_epoch = self.calls * self.rows_per_call
        rate = recipe.learning_rate
        if recipe.decay:
            steps = recipe.epochs * self.calls * recipe.steps_per_call
            rate = tf.keras.optimizers.schedules.CosineDecay(rate, steps)
        self.optimizer = tf.keras.optimizers.Adam(rate, weight_decay=recipe.weight_decay or None, jit_compile=False)
        model((tf.constant(rows.ids[:2]), tf.constant(rows.numbers[:2])))
        self.optimizer.build(model.trainable_variables)
        self.averages = [tf.Variable(v, trainable=False) for v in model.trainable_variables] if recipe.averaging else []
        self._steps = tf.function(self._train, jit_compile=True)
        self._score = tf.function(lambda ids, numbers: model((ids, numbers)), jit_compile=True)

    def epoch(self) -> float:
        """One pass over the rows in a new order; gives its seconds, the first time with those of compiling.

        The last rows, which don't fill a call, wait for another order.
        """
        start = time.perf_counter()
        size = self.recipe.batch_size
        order = self.random.permutation(len(self.rows))[: self.rows_per_epoch]
        for rows in np.split(order, self.calls):
            arrays = (array[rows] for array in (self.rows.ids, self.rows.numbers, self.rows.labels))
            # (steps, batch, columns)
            self._steps(
                *(tf.constant(array.reshape(self.recipe.steps_per_call, size, array.shape[1])) for array in arrays)
            )
        self.optimizer.iterations.numpy()  # waits for the last step
        return time.perf_counter() - start

    def predict(self, rows: Rows, batch_size: int = 8192) -> np.ndarray:
        """The outputs `(rows, tasks)` by the averaged weights, or by the latest if there is no average."""
        with self._averaged():
            parts = []
            for start in range(0, len(rows), batch_size):
                ids, numbers = rows.ids[start : start + batch_size], rows.numbers[start : start + batch_size]
                missing = batch_size - len(ids)  # filled up, so that one shape is compiled
                ids, numbers = (np.pad(array, ((0, missing), (0, 0))) for array in (ids, numbers))
                parts.append(self._score(ids, numbers).numpy()[: batch_size - missing])
        return np.concatenate(parts)

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The model's weights are their averages."""
        latest = [variable.numpy() for variable in self.model.trainable_variables]
        for variable, average in zip(self.model.trainable_variables, self.averages, strict=False):
            variable.assign(average)
        yield
        for variable, value in zip(self.model.trainable_variables, latest, strict=True):
            variable.assign(value)

    def _train(self, ids: tf.Tensor, numbers: tf.Tensor, labels: tf.Tensor) -> None:
        for step in tf.range(tf.shape(ids)[0]):
            self._step(ids[step], numbers[step], labels[step])

    def _step(self, ids: tf.Tensor, numbers: tf.Tensor, labels: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            outputs = self.model((ids, numbers))
            loss = tf.reduce_sum(tf.reduce_mean(self._elementwise(labels, outputs), axis=0))
        variables = self.model.trainable_variables
        # XLA has no sparse update; a dense one costs nothing for a small table.
        sparse = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradients = [tf.convert_to_tensor(gradient) for gradient in sparse]
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        momentum = self.recipe.averaging or 0.0
        for average, variable in zip(self.averages, variables, strict=False):
            average.assign_sub((1.0 - momentum) * (average - variable))

    def _elementwise(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        if self.loss == "log_loss":
            return tf.nn.sigmoid_cross_entropy_with_logits(labels, outputs)
        return tf.math.squared_difference(labels, outputs)
