"""The task interest module (TIM) of DTRN: what each task sees in a user's behaviour."""

from collections.abc import Sequence

import tensorflow as tf

from models.layers.arguments import PACKAGE, at_least
from models.layers.dtrn.conditional_transformer import ConditionalTransformer
from models.layers.dtrn.hypernetwork import HyperNetwork


@tf.keras.utils.register_keras_serializable(PACKAGE)
class TaskInterest(tf.keras.layers.Layer):
    """`interest_i = concat_j(out_ij)`: for each task i, what it reads of each behaviour type's sequence j.

        out_ij = Transformer(x_j, q; g_ij, b_ij),   g_ij, b_ij = HyperNetwork(T_i, B_j)

    One transformer serves all pairs; a pair has its own scales and shifts of the layer norms, made from the learned
    embeddings `T_i` of the task and `B_j` of the behaviour type. *Inference*: the query q is the candidate item, which
    goes through the same linear layer as the positions do; an empty sequence gives a learned vector, one a behaviour.

    Reference: Liu et al. (DTRN), CIKM 2023.

    Args:
      tasks: the number of tasks.
      behaviours: the number of behaviour types.
      units: the size of what each task reads of each behaviour.
      heads, feed_forward, layers, block: the transformer's (`ConditionalTransformer`).
      condition_dim: the size of the task and behaviour embeddings.
      condition_units: the hidden size of the hypernetwork's perceptrons.

    Input: a list of one sequence `(batch, length, inputs)` per behaviour, whose lengths may differ; a list of their
    masks `(batch, length)`, true at real positions; queries `(batch, queries, inputs)`, or for sequences of one user
    (a batch of 1) any number of queries. Padded positions may hold anything.
    Output: a list of one `(batch, queries, behaviours * units)` per task.

    >>> interest = TaskInterest(tasks=2, behaviours=1, units=8, heads=2, feed_forward=16)
    >>> sequence, mask, query = tf.ones([4, 5, 3]), tf.ones([4, 5], tf.bool), tf.ones([4, 1, 3])
    >>> [read.shape.as_list() for read in interest([sequence], [mask], query)]
    [[4, 1, 8], [4, 1, 8]]

    Raises:
      ValueError: a count below 1, or another number of sequences than of behaviours.
    """

    def __init__(
        self,
        tasks: int,
        behaviours: int,
        units: int,
        heads: int = 2,
        feed_forward: int = 64,
        layers: int = 1,
        block: str = "parallel",
        condition_dim: int = 8,
        condition_units: int = 16,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = at_least("tasks", tasks, 1)
        self.behaviours = at_least("behaviours", behaviours, 1)
        self.units = at_least("units", units, 1)
        self.condition_dim = at_least("condition_dim", condition_dim, 1)
        policy = self.dtype_policy
        self.projection = tf.keras.layers.Dense(self.units, name="projection", dtype=policy)
        self.transformer = ConditionalTransformer(heads, feed_forward, layers, block, name="transformer", dtype=policy)
        # A few rows, whose scales lie near 1: in mixed precision they stay as exact as the weights.
        self.hypernetwork = HyperNetwork(
            self.transformer.norms, self.units, condition_units, name="hypernetwork", dtype=self.variable_dtype
        )

    def build(self, input_shape) -> None:
        for name, count in (("task", self.tasks), ("behaviour", self.behaviours)):
            shape = (count, self.condition_dim)
            weight = self.add_weight(
                name=f"{name}_embedding", shape=shape, initializer="random_normal", experimental_autocast=False
            )
            setattr(self, f"{name}_embedding", weight)
        self.empty = self.add_weight(name="empty", shape=(self.behaviours, self.units), initializer="zeros")
        super().build(input_shape)

    def call(self, sequences: Sequence[tf.Tensor], masks: Sequence[tf.Tensor], queries: tf.Tensor) -> list[tf.Tensor]:
        # Keras's functional models hand a list of one over as a tensor.
        sequences, masks = (x if isinstance(x, list | tuple) else [x] for x in (sequences, masks))
        if len(sequences) != self.behaviours or len(masks) != self.behaviours:
            received = f"{len(sequences)} sequences and {len(masks)} masks"
            raise ValueError(f"sequences: expected {self.behaviours} and as many masks, got {received}")
        groups = [[(sequence, mask, queries)] for sequence, mask in zip(sequences, masks, strict=True)]
        return tf.unstack(tf.concat([read for (read,) in self.read_groups(groups)], axis=-1), num=self.tasks)

    def read_groups(self, groups: Sequence[Sequence[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]]) -> list[list[tf.Tensor]]:
        """Returns what is read of sequences in groups, `(tasks, rows, queries, units)` by behaviour and group.

        The examples of a batch may so be cut by the lengths of their sequences, for each behaviour in another way.

        Args:
          groups: by behaviour and group, what a call takes of all examples: sequence, mask and queries.
        """
        scale, shift = self.hypernetwork(self.task_embedding, self.behaviour_embedding)
        return [
            [self._read(j, *group, scale[:, :, j], shift[:, :, j]) for group in of_behaviour]
            for j, of_behaviour in enumerate(groups)
        ]

    def _read(
        self, j: int, sequence: tf.Tensor, mask: tf.Tensor, queries: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor
    ) -> tf.Tensor:
        # Whatever padded positions hold, a NaN even, is gone.
        x = self.projection(tf.where(mask[:, :, tf.newaxis], sequence, 0.0))
        out = self.transformer(x, mask, self.projection(queries), scale, shift)
        return tf.where(tf.reduce_any(mask, axis=1)[:, tf.newaxis, tf.newaxis], out, self.empty[j])

    def get_config(self) -> dict:
        transformer = self.transformer
        return {
            **super().get_config(),
            "tasks": self.tasks,
            "behaviours": self.behaviours,
            "units": self.units,
            "heads": transformer.heads,
            "feed_forward": transformer.feed_forward,
            "layers": transformer.layers,
            "block": transformer.block,
            "condition_dim": self.condition_dim,
            "condition_units": self.hypernetwork.units,
        }
