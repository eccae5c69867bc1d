"""The task-specific representation refinement module (TRM) of DTRN."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from models.layers.arguments import PACKAGE, at_least, input_dim
from models.layers.experts import Experts
from models.layers.user_item_rows import UserItemRows

# From a perceptron's output to weights; at 0 the first two give 1: training starts from the unrefined.
_WEIGHTS = {
    "double_sigmoid": lambda x: 2.0 * tf.sigmoid(x),
    "linear": lambda x: 1.0 + x,
    "sigmoid": tf.sigmoid,
}


@tf.keras.utils.register_keras_serializable(PACKAGE)
class RepresentationRefinement(tf.keras.layers.Layer):
    """`r_i = raw_i * MLP_i(raw_i)`, elementwise, of `raw_i = [e, interest_i]`: each task weighs its own input.

    `e` is what all tasks read, `interest_i` what is task i's; the perceptrons have two layers with ReLU between.
    *Inference*: what the weights come from (`weights`), how small the hidden layer is (`reduction`), whether each
    element has a weight or each field (`fields`); and that the last layers start from 0.

    Reference: Liu et al. (DTRN), CIKM 2023; after Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018.

    Args:
      tasks: the number of tasks.
      reduction: the hidden layer is as many times smaller than the input.
      weights: `double_sigmoid` (0 to 2, at first 1), `sigmoid` (0 to 1, at first 0.5) or `linear` (at first 1).
      fields: the sizes of the fields of `raw_i`, each of which gets one weight; None gives one to each element.

    Input: a list of `e (batch, a)` and then one `interest_i (batch, b)` per task.
    Output: a list of one `(batch, a + b)` per task.

    >>> refinement = RepresentationRefinement(tasks=2)
    >>> inputs = [tf.constant([[1.0, 2.0]]), tf.constant([[3.0]]), tf.constant([[4.0]])]
    >>> [refined.numpy().tolist() for refined in refinement(inputs)]
    [[[1.0, 2.0, 3.0]], [[1.0, 2.0, 4.0]]]

    Raises:
      ValueError: a count below 1, unknown weights, fields that don't add up to the input, or another number of
        interests than of tasks.
    """

    def __init__(
        self,
        tasks: int,
        reduction: int = 4,
        weights: str = "double_sigmoid",
        fields: Sequence[int] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = at_least("tasks", tasks, 1)
        self.reduction = at_least("reduction", reduction, 1)
        if weights not in _WEIGHTS:
            raise ValueError(f"weights: expected one of {', '.join(_WEIGHTS)}, got {weights!r}")
        self.kind = weights
        self.fields = None if fields is None else tuple(at_least("fields", size, 1) for size in fields)

    def build(self, input_shape) -> None:
        shapes = self._checked(input_shape)
        dim = input_dim(shapes[0]) + input_dim(shapes[1])
        if self.fields is not None and sum(self.fields) != dim:
            raise ValueError(f"fields: expected sizes that add up to {dim}, got {self.fields}")
        units = max(1, dim // self.reduction)
        self.hidden = Experts(self.tasks, (units,), "relu", name="hidden", dtype=self.dtype_policy)
        self.last = Experts(
            self.tasks,
            (len(self.fields) if self.fields else dim,),
            None,
            kernel_initializer="zeros",
            name="last",
            dtype=self.dtype_policy,
        )
        for layer, size in ((self.hidden, dim), (self.last, units)):
            with tf.name_scope(layer.name):
                layer.build((self.tasks, None, size))
        super().build(input_shape)

    def call(self, inputs: Sequence[tf.Tensor | UserItemRows]) -> list[tf.Tensor]:
        common, *interests = self._checked(inputs)
        common = common.materialize() if isinstance(common, UserItemRows) else common
        weights = tf.unstack(self._weights(inputs), num=self.tasks)
        return [
            tf.concat([common, interest], axis=-1) * weight for interest, weight in zip(interests, weights, strict=True)
        ]

    def refinement_weights(self, inputs: Sequence[tf.Tensor | UserItemRows]) -> list[tf.Tensor]:
        """Returns `refine_i` of each task, `(batch, a + b)`: what each element of its input is multiplied by."""
        return tf.unstack(self._weights(self._checked(inputs)), num=self.tasks)

    def _weights(self, inputs: Sequence[tf.Tensor | UserItemRows]) -> tf.Tensor:
        common, interests = inputs[0], tf.stack(inputs[1:])
        if isinstance(common, UserItemRows):
            # What one user's candidates share is multiplied once, what all tasks share once for each.
            repeated = tf.broadcast_to(common.items, tf.concat([[self.tasks], tf.shape(common.items)], axis=0))
            common, interests = common.user, tf.concat([repeated, interests], axis=-1)
        weights = _WEIGHTS[self.kind](self.last(self.hidden(UserItemRows(common, interests))))
        if self.fields is None:
            return weights
        # (fields, elements), 1 where the element is of the field
        members = np.repeat(np.eye(len(self.fields), dtype=np.float32), self.fields, axis=1)
        return tf.tensordot(weights, tf.constant(members), 1)

    def _checked(self, inputs: Sequence) -> Sequence:
        if not isinstance(inputs, list | tuple) or len(inputs) != self.tasks + 1:
            received = f"{len(inputs)}" if isinstance(inputs, list | tuple) else repr(inputs)
            raise ValueError(f"inputs: expected a list of {self.tasks + 1} (shared, then one per task), got {received}")
        return inputs

    def get_config(self) -> dict:
        arguments = {"tasks": self.tasks, "reduction": self.reduction, "weights": self.kind, "fields": self.fields}
        return {**super().get_config(), **arguments}
