"""One transformer for many conditions: only its layer norms know which."""

import tensorflow as tf

from models.layers.arguments import PACKAGE, at_least, input_dim
from models.layers.attention import MaskedAttention
from models.layers.conditional_norm import ConditionalLayerNorm


@tf.keras.utils.register_keras_serializable(PACKAGE)
class ConditionalTransformer(tf.keras.layers.Layer):
    """Encodes a sequence and decodes it for queries, once for each of c conditions.

        h = x;  for each layer:  h = CLN(h + SelfAttention(h));  h = CLN(h + FFN(h))       encoder
        o = CLN(q + Attention(q, h));  o = CLN(o + FFN(o))                                 decoder

    `FFN(h) = relu(h W + b) V + c`; every CLN is conditioned, all else is the same for every condition. *Inference*: one
    encoder as deep as `layers` says, one decoder layer without self-attention among queries (candidates don't see each
    other), and norms after the residual, as in the original transformer. It follows that the first self-attention and
    all that a norm does but its last scaling don't depend on the condition: they are computed once.

    Reference: Liu et al. (DTRN), CIKM 2023; Vaswani et al., "Attention Is All You Need", NeurIPS 2017.

    Args:
      heads: heads of each attention.
      feed_forward: the hidden size of each FFN.
      layers: encoder layers.

    Attributes:
      norms: the number of layer-norm positions, two an encoder layer and two in the decoder.

    Input: `x (batch, length, dim)`; mask `(batch, length)`, true at real positions; queries `(batch, queries, dim)`;
    scale and shift, `(norms, conditions, dim)`. One sequence may serve all queries: the batch is then 1.
    Output: `(conditions, batch, queries, dim)`. Where no position is real it is finite and means nothing.

    >>> transformer = ConditionalTransformer(heads=2, feed_forward=16)
    >>> scale, shift = tf.ones([transformer.norms, 3, 8]), tf.zeros([transformer.norms, 3, 8])
    >>> transformer(tf.ones([4, 5, 8]), tf.ones([4, 5], tf.bool), tf.ones([4, 1, 8]), scale, shift).shape
    TensorShape([3, 4, 1, 8])
    """

    def __init__(self, heads: int, feed_forward: int, layers: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.heads = at_least("heads", heads, 1)
        self.feed_forward = at_least("feed_forward", feed_forward, 1)
        self.layers = at_least("layers", layers, 1)
        self.norms = 2 * self.layers + 2
        names = [f"encoder_{layer}" for layer in range(1, self.layers + 1)]
        self.attentions = [MaskedAttention(self.heads, name=f"{name}_attention") for name in names]
        self.attentions.append(MaskedAttention(self.heads, folded=True, name="decoder_attention"))
        self.networks = [_FeedForward(self.feed_forward, name=f"{name}_ffn") for name in [*names, "decoder"]]
        self.layer_norms = [ConditionalLayerNorm(name=f"norm_{position}") for position in range(1, self.norms + 1)]

    def call(self, x: tf.Tensor, mask: tf.Tensor, queries: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
        def norm(position: int, values: tf.Tensor) -> tf.Tensor:
            # (conditions, 1, 1, dim)
            condition = [part[position][:, tf.newaxis, tf.newaxis, :] for part in (scale, shift)]
            return self.layer_norms[position](values, *condition)

        # (1, batch, length, dim) until the first norm, and (conditions, batch, length, dim) from there on
        hidden = x[tf.newaxis]
        for layer in range(self.layers):
            hidden = norm(2 * layer, hidden + self.attentions[layer](hidden, hidden, mask))
            hidden = norm(2 * layer + 1, hidden + self.networks[layer](hidden))
        decoded = norm(self.norms - 2, queries + self.attentions[-1](queries, hidden, mask))
        return norm(self.norms - 1, decoded + self.networks[-1](decoded))

    def get_config(self) -> dict:
        own = {"heads": self.heads, "feed_forward": self.feed_forward, "layers": self.layers}
        return {**super().get_config(), **own}


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
