import numpy as np
import pytest
import tensorflow as tf

from models.layers import ConditionalLayerNorm, ConditionalTransformer, HyperNetwork, MaskedAttention

X = tf.random.stateless_normal([3, 5, 8], seed=(1, 2))
MASK = tf.sequence_mask([3, 5, 1], 5)


def test_a_conditional_norm_scales_and_shifts_what_layer_norm_gives():
    norm = ConditionalLayerNorm(epsilon=0.0)
    x = tf.constant([[1.0, 3.0]])
    norm(x, tf.ones([2]), tf.zeros([2]))
    norm.set_weights([np.array([2.0, 3.0]), np.array([0.5, 0.0])])
    # normalised: -1, 1; g_c g: 20, -3; b_c + b: 1.5, 10
    np.testing.assert_allclose(norm(x, tf.constant([10.0, -1.0]), tf.constant([1.0, 10.0])), [[-18.5, 7.0]], rtol=1e-6)


def test_with_neutral_conditions_it_is_layer_norm():
    norm, plain = ConditionalLayerNorm(epsilon=1e-3), tf.keras.layers.LayerNormalization(epsilon=1e-3)
    np.testing.assert_allclose(norm(X, tf.ones([8]), tf.zeros([8])), plain(X), atol=1e-6)


def test_a_hypernetwork_has_a_perceptron_for_each_scale_and_shift():
    hyper = HyperNetwork(norms=2, dim=3, units=4)
    tasks, behaviours = tf.constant([[1.0], [2.0]]), tf.constant([[10.0, 0.0], [20.0, 0.0], [30.0, 0.0]])
    hyper(tasks, behaviours)
    # scales of norm 1 and 2, then shifts: one hidden unit of the second scale's perceptron adds task and behaviour
    kernel = np.zeros([4, 3, 4], np.float32)
    kernel[1, :, 0] = [1.0, 1.0, 0.0]
    last = np.zeros([4, 4, 3], np.float32)
    last[1, 0] = [1.0, 0.0, 2.0]
    hyper.hidden.kernels[0].assign(kernel)
    hyper.last.kernels[0].assign(last)
    scale, shift = hyper(tasks, behaviours)
    np.testing.assert_array_equal(scale[0], np.ones([2, 3, 3]))
    np.testing.assert_array_equal(shift, np.zeros([2, 2, 3, 3]))
    # task 2 with behaviour 30: 1 + 32 and 1 + 2 * 32
    np.testing.assert_allclose(scale[1, 1, 2], [33.0, 1.0, 65.0])
    np.testing.assert_allclose(scale[1, 0, 0], [12.0, 1.0, 23.0])
    assert hyper.count_params() == 4 * ((3 + 1) * 4 + (4 + 1) * 3)


def test_a_hypernetwork_starts_neutral_and_has_gradients():
    hyper = HyperNetwork(norms=2, dim=3)
    tasks, behaviours = tf.random.normal([2, 4]), tf.random.normal([3, 4])
    with tf.GradientTape() as tape:
        scale, shift = hyper(tasks, behaviours)
        loss = tf.reduce_sum(scale * scale + shift)
    np.testing.assert_array_equal(scale, np.ones([2, 2, 3, 3]))
    np.testing.assert_array_equal(shift, np.zeros([2, 2, 3, 3]))
    assert np.any(tape.gradient(loss, hyper.last.kernels[0]))


def test_attention_is_a_mean_weighted_by_how_keys_answer_queries():
    attention = MaskedAttention(heads=1)
    x, mask = tf.constant([[[1.0, 0.0], [0.0, 8.0], [50.0, 50.0]]]), tf.constant([[True, True, False]])
    attention(x, mask)
    query = np.array([[np.log(3.0) * np.sqrt(2.0), 0.0], [0.0, 0.0]])
    eye, zeros = np.eye(2), np.zeros(2)
    attention.set_weights([np.concatenate([query, eye, eye], axis=1), eye, zeros, zeros, zeros])
    # The first asks with log 3 for what begins with 1: weights 3/4 and 1/4. The second asks for nothing: 1/2 each.
    np.testing.assert_allclose(attention(x, mask)[0, :2], [[0.75, 2.0], [0.5, 4.0]], rtol=1e-6)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_reading_for_a_condition_is_attention_to_what_is_scaled_and_shifted(keras_attention, heads):
    attention = MaskedAttention(heads)
    attention(X, MASK)
    attention.set_weights([value + 0.1 for value in attention.get_weights()])
    scale, shift = (tf.random.stateless_normal([2, 8], seed=(seed, 0)) for seed in (3, 4))
    # A position reads as it would as a query of its own.
    for positions in (X[tf.newaxis], tf.stack([X, 2.0 * X])):
        for c, read in enumerate(attention.read(X, positions, MASK, scale, shift)):
            conditioned = positions[min(c, len(positions) - 1)] * scale[c] + shift[c]
            np.testing.assert_allclose(read, keras_attention(attention, X, conditioned, MASK), rtol=1e-5, atol=1e-5)


def test_heads_divide_the_size():
    with pytest.raises(ValueError, match="heads: expected a divisor of the inputs' size 8, got 3"):
        MaskedAttention(3)(X, MASK)


@pytest.mark.parametrize("block", ["parallel", "sequential"])
@pytest.mark.parametrize("layers", [1, 2])
def test_with_neutral_conditions_it_is_the_plain_transformer(plain_transformer, layers, block):
    transformer = ConditionalTransformer(heads=2, feed_forward=16, layers=layers, block=block)
    queries = tf.random.stateless_normal([3, 2, 8], seed=(3, 4))
    ones, zeros = tf.ones([transformer.norms, 2, 8]), tf.zeros([transformer.norms, 2, 8])
    transformer(X, MASK, queries, ones, zeros)
    random = np.random.default_rng(1)
    transformer.set_weights([value + 0.1 * random.normal(size=value.shape) for value in transformer.get_weights()])
    for out in transformer(X, MASK, queries, ones, zeros):
        np.testing.assert_allclose(out, plain_transformer(transformer, X, MASK, queries), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block", ["parallel", "sequential"])
def test_conditions_do_as_norms_of_their_own_would(plain_transformer, block):
    """A condition scales and shifts the norms' learned scales and shifts: the plain transformer with those set so."""
    transformer = ConditionalTransformer(heads=1, feed_forward=4, layers=2, block=block)
    scale, shift = (tf.random.stateless_normal([transformer.norms, 3, 8], seed=(seed, 0)) for seed in (5, 6))
    outputs = transformer(X, MASK, X[:, :2], scale, shift)
    for c, out in enumerate(outputs):
        for position, norm in enumerate(transformer.layer_norms):
            norm.set_weights([scale[position, c], shift[position, c]])
        np.testing.assert_allclose(out, plain_transformer(transformer, X, MASK, X[:, :2]), rtol=1e-5, atol=1e-5)


def test_another_block_is_refused():
    with pytest.raises(ValueError, match="block: expected parallel or sequential, got 'both'"):
        ConditionalTransformer(heads=1, feed_forward=4, block="both")
