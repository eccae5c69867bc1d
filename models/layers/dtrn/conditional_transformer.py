"""One transformer for many conditions: only its layer norms know which."""

import tensorflow as tf

from models.layers.arguments import PACKAGE, at_least, input_dim
from models.layers.dtrn.attention import MaskedAttention
from models.layers.dtrn.conditional_norm import ConditionalLayerNorm


@tf.keras.utils.register_keras_serializable(PACKAGE)
class ConditionalTransformer(tf.keras.layers.Layer):
    """Encodes a sequence and decodes it for queries, once for each of c conditions.

        h = x;  for each layer:  h = CLN(h + SelfAttention(h) + FFN(h))               encoder, `parallel`
                            or:  h = CLN(h + SelfAttention(h));  h = CLN(h + FFN(h))  `sequential`
        o = CLN(q + Attention(q, h));  o = CLN(o + FFN(o))                            decoder

    `FFN(h) = relu(h W + b) V + c`; every CLN is conditioned, all else is the same for every condition. In mixed
    precision the norms are computed in the precision of the weights.

    *Inference*, as the paper says no more than that one transformer is shared and its norms are conditioned: the norms
    come after the residuals; an encoder as deep as `layers` says, and one decoder layer without self-attention among
    queries (candidates don't see each other); and the block. `sequential` is that of the original transformer.
    `parallel`, known from language models (Wang and Komatsuzaki, GPT-J, 2021), has one norm a layer: with one layer all
    that the encoder does but the norm's scale and shift is the same for every condition and computed once, and scale
    and shift go over to the decoder's few queries.

    Reference: Liu et al. (DTRN), CIKM 2023; Vaswani et al., "Attention Is All You Need", NeurIPS 2017.

    Args:
      heads: heads of each attention.
      feed_forward: the hidden size of each FFN.
      layers: encoder layers.
      block: `parallel` or `sequential`.

    Attributes:
      norms: the number of layer-norm positions: one or two an encoder layer, and two in the decoder.

    Input: `x (batch, length, dim)`; mask `(batch, length)`, true at real positions; queries `(batch, queries, dim)`;
    scale and shift, `(norms, conditions, dim)`. One sequence may serve all queries: the batch is then 1.
    Output: `(conditions, batch, queries, dim)`. Where no position is real it is finite and means nothing.

    >>> transformer = ConditionalTransformer(heads=2, feed_forward=16)
    >>> scale, shift = tf.ones([transformer.norms, 3, 8]), tf.zeros([transformer.norms, 3, 8])
    >>> transformer(tf.ones([4, 5, 8]), tf.ones([4, 5], tf.bool), tf.ones([4, 1, 8]), scale, shift).shape
    TensorShape([3, 4, 1, 8])

    Raises:
      ValueError: a count below 1, or another block.
    """

    def __init__(self, heads: int, feed_forward: int, layers: int = 1, block: str = "parallel", **kwargs):
        super().__init__(**kwargs)
        self.heads = at_least("heads", heads, 1)
        self.feed_forward = at_least("feed_forward", feed_forward, 1)
        self.layers = at_least("layers", layers, 1)
        if block not in ("parallel", "sequential"):
            raise ValueError(f"block: expected parallel or sequential, got {block!r}")
        self.block = block
        self.norms = (self.layers if block == "parallel" else 2 * self.layers) + 2
        names = [*(f"encoder_{layer}" for layer in range(1, self.layers + 1)), "decoder"]
        policy = self.dtype_policy
        self.attentions = [MaskedAttention(self.heads, name=f"{name}_attention", dtype=policy) for name in names]
        self.networks = [_FeedForward(self.feed_forward, name=f"{name}_ffn", dtype=policy) for name in names]
        self.layer_norms = [
            ConditionalLayerNorm(name=f"norm_{position}", dtype=self.variable_dtype)
            for position in range(1, self.norms + 1)
        ]

    def build(self, input_shape) -> None:
        # The decoder's attention and the encoder's last norm are used in parts, and not called.
        for layer in (self.attentions[-1], self.layer_norms[-3]):
            with tf.name_scope(layer.name):
                layer.build(input_shape)
                layer.built = True
        super().build(input_shape)

    def call(self, x: tf.Tensor, mask: tf.Tensor, queries: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
        def norm(position: int, values: tf.Tensor) -> tf.Tensor:
            # (conditions, 1, 1, dim)
            condition = [by_norm[position][:, tf.newaxis, tf.newaxis, :] for by_norm in (scale, shift)]
            return tf.cast(self.layer_norms[position](values, *condition), self.compute_dtype)

        # (1, batch, length, dim) until a norm is scaled and shifted, (conditions, batch, length, dim) from there on
        hidden, position = x[tf.newaxis], 0
        for layer, (attention, network) in enumerate(zip(self.attentions[:-1], self.networks[:-1], strict=True)):
            if self.block == "parallel":
                hidden += attention(hidden, mask) + network(hidden)
            else:
                hidden = norm(position, hidden + attention(hidden, mask))
                hidden += network(hidden)
                position += 1
            if layer < self.layers - 1:
                hidden = norm(position, hidden)
                position += 1
        last = self.layer_norms[position]
        normalised = tf.cast(last.normalised(hidden), self.compute_dtype)
        read = self.attentions[-1].read(queries, normalised, mask, *last.conditioned(scale[position], shift[position]))
        decoded = norm(position + 1, queries + read)
        return norm(position + 2, decoded + self.networks[-1](decoded))

    def get_config(self) -> dict:
        arguments = {"heads": self.heads, "feed_forward": self.feed_forward, "layers": self.layers, "block": self.block}
        return {**super().get_config(), **arguments}


class _FeedForward(tf.keras.layers.Layer):
    """`relu(h W + b) V + c`, back to the size of the input."""

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape) -> None:
        dim = input_dim(input_shape)
        self.kernels = [
            self.add_weight(name=f"kernel_{i}", shape=shape)
            for i, shape in enumerate([(dim, self.units), (self.units, dim)])
        ]
        self.biases = [
            self.add_weight(name=f"bias_{i}", shape=(size,), initializer="zeros")
            for i, size in enumerate((self.units, dim))
        ]
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # One matmul for every condition, example and position.
        hidden = tf.nn.relu(tf.tensordot(inputs, self.kernels[0], 1) + self.biases[0])
        return tf.tensordot(hidden, self.kernels[1], 1) + self.biases[1]
