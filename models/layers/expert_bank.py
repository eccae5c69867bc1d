"""The experts of a level, the gates over them, and their mixture: `softmax(W x) S`."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import tensorflow as tf

from models.layers.arguments import PACKAGE, at_least, input_dim
from models.layers.experts import Experts
from models.layers.user_item_rows import UserItemRows, matmul


@tf.keras.utils.register_keras_serializable(PACKAGE)
class Gate(tf.keras.layers.Layer):
    """Which experts a stream listens to: `w(x) = softmax(W x)`, one linear layer without bias (PLE, eq. 3).

    Args:
      experts: how many experts the gate selects over.

    Input: `(batch, inputs)`. Output: `(batch, experts)` in float32, rows summing to 1.

    >>> Gate(experts=4)(tf.ones([2, 8])).shape
    TensorShape([2, 4])
    """

    def __init__(self, experts: int, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.experts = at_least("experts", experts, 1)
        self.kernel_initializer = tf.keras.initializers.get(kernel_initializer)

    def build(self, input_shape) -> None:
        shape = (input_dim(input_shape), self.experts)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self.kernel_initializer)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor | UserItemRows) -> tf.Tensor:
        return _softmax(matmul(inputs, self.kernel))

    def get_config(self) -> dict:
        initializer = tf.keras.initializers.serialize(self.kernel_initializer)
        return {**super().get_config(), "experts": self.experts, "kernel_initializer": initializer}


def fuse(weights: tf.Tensor, experts: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns `w S = sum_e w[:, e] E_e` (PLE, eq. 2), `(batch, units)`, summed in the precision of `w`.

    Args:
      weights: `w`, `(batch, experts)`.
      experts: `S`, the outputs `E_e`, `(batch, units)` each. A list, since stacking would copy them.
    """
    columns = tf.split(weights, len(experts), axis=1)
    terms = [column * tf.cast(expert, weights.dtype) for column, expert in zip(columns, experts, strict=True)]
    return tf.cast(tf.add_n(terms), experts[0].dtype)


@tf.keras.utils.register_keras_serializable(PACKAGE)
class ExpertBank(tf.keras.layers.Layer):
    """All of a level that reads its input: a pool of experts for each stream, and gates.

        E_s,e(x_s) for each expert e of stream s's pool;  w_g = softmax(W_g x_g) for each gate g

    What a gate selects over, and so how its weights and the experts are fused (`fuse`), is the routing's to say.

    Args:
      pools: a pool for each stream.
      gates: the gates; the first reads the first stream, and so on. There may be fewer than streams.
      joint: whether all that reads the same tensor is one large matmul, which is faster than several small ones, and so
        is its gradient. It differs from them by rounding.

    Input: a list of `(batch, inputs)`, one a stream; `gate_inputs`, one a gate, where gates read something else.
    Output: for each stream the list of its experts' outputs `(batch, units)`; for each gate its weights
    `(batch, experts)`, in float32.

    >>> bank = ExpertBank([Experts(2, (16,)), Experts(1, (16,))], [Gate(3), Gate(3)])
    >>> pools, weights = bank([tf.ones([4, 8]), tf.ones([4, 8])])
    >>> [len(pool) for pool in pools], pools[0][0].shape, weights[0].shape
    ([2, 1], TensorShape([4, 16]), TensorShape([4, 3]))

    Raises:
      ValueError: no pool, more gates than pools, or another number of inputs than of pools.
    """

    def __init__(self, pools: Sequence[Experts], gates: Sequence[Gate], joint: bool = False, **kwargs):
        # `matmul` casts. Keras would cast each input by itself, and none would be the same tensor as another.
        super().__init__(autocast=False, **kwargs)
        if not pools or len(gates) > len(pools):
            raise ValueError(f"pools: expected at least one, and one a gate, got {len(pools)} for {len(gates)} gates")
        self.pools, self.gates, self.joint = list(pools), list(gates), bool(joint)

    def build(self, input_shape) -> None:
        self._check(input_shape)
        readers: list[tf.keras.layers.Layer] = [*self.pools, *self.gates]
        for reader, shape in zip(readers, [*input_shape, *input_shape[: len(self.gates)]], strict=True):
            # Keras builds those of a bank that it loads by itself.
            if not reader.built:
                with tf.name_scope(reader.name):
                    reader.build(shape)
        super().build(input_shape)

    def call(
        self, inputs: Sequence[tf.Tensor | UserItemRows], gate_inputs: Sequence[tf.Tensor | UserItemRows] | None = None
    ) -> tuple[list[list[tf.Tensor]], list[tf.Tensor]]:
        self._check(inputs)
        gate_inputs = inputs[: len(self.gates)] if gate_inputs is None else gate_inputs
        if not self.joint:
            return [tf.unstack(pool(x)) for pool, x in zip(self.pools, inputs, strict=True)], self.select(gate_inputs)
        kernels = [*(pool._first_kernels() for pool in self.pools), *([gate.kernel] for gate in self.gates)]
        products = _joint_matmuls([*inputs, *gate_inputs], kernels)
        hidden, logits = products[: len(self.pools)], products[len(self.pools) :]
        experts = [pool._from_first_matmul(product) for pool, product in zip(self.pools, hidden, strict=True)]
        return experts, _softmaxes(logits)

    def select(self, gate_inputs: Sequence[tf.Tensor | UserItemRows]) -> list[tf.Tensor]:
        """Returns what each gate gives each expert that it selects over, `(batch, experts)`, without the experts."""
        return [gate(x) for gate, x in zip(self.gates, gate_inputs, strict=False)]

    def _check(self, inputs) -> None:
        if not isinstance(inputs, list | tuple) or len(inputs) != len(self.pools):
            received = f"{len(inputs)} tensors" if isinstance(inputs, list | tuple) else repr(inputs)
            raise ValueError(f"inputs: expected a list of {len(self.pools)} tensors (one per pool), got {received}")

    def get_config(self) -> dict[str, Any]:
        layers = {
            name: [tf.keras.saving.serialize_keras_object(layer) for layer in getattr(self, name)]
            for name in ("pools", "gates")
        }
        return {**super().get_config(), **layers, "joint": self.joint}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        layers = {
            name: [tf.keras.saving.deserialize_keras_object(layer) for layer in config[name]]
            for name in ("pools", "gates")
        }
        return cls(**{**config, **layers})


def _joint_matmuls(
    inputs: Sequence[tf.Tensor | UserItemRows], kernels: Sequence[Sequence[tf.Tensor]]
) -> list[tf.Tensor]:
    """Returns `x_i [W_i1 ... W_im]` for every i, by one matmul for all i whose `x_i` is the same tensor.

    Input: `x_i (batch, rows_i)`; `W_ij (rows_i, columns_ij)`.
    Output: `(batch, sum_j columns_ij)` each, in the precision of W.
    """
    readers: dict[int, list[int]] = {}
    for i, x in enumerate(inputs):
        readers.setdefault(id(x), []).append(i)
    products: dict[int, tf.Tensor] = {}
    for indices in readers.values():
        side_by_side = tf.concat([kernel for i in indices for kernel in kernels[i]], axis=1)
        widths = [sum(int(kernel.shape[1]) for kernel in kernels[i]) for i in indices]
        product = matmul(inputs[indices[0]], side_by_side)
        products.update(zip(indices, tf.split(product, widths, axis=1), strict=True))
    return [products[i] for i in range(len(inputs))]


def _softmaxes(logits: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Returns the softmax of each `(batch, experts)`; those over the same number of experts are computed at once."""
    by_size: dict[int, list[int]] = {}
    for i, row in enumerate(logits):
        by_size.setdefault(int(row.shape[-1]), []).append(i)
    weights: dict[int, tf.Tensor] = {}
    for indices in by_size.values():
        joint = _softmax(tf.stack([logits[i] for i in indices]))
        weights.update(zip(indices, tf.unstack(joint), strict=True))
    return [weights[i] for i in range(len(logits))]


def _softmax(logits: tf.Tensor) -> tf.Tensor:
    """Returns the softmax over the last axis, in float32 whatever the logits are in."""
    return tf.nn.softmax(tf.cast(logits, tf.float32), axis=-1)
