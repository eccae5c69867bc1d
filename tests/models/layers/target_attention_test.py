import numpy as np
import pytest
import tensorflow as tf

from models.layers import TargetAttention

RANDOM = np.random.default_rng(2)
KEYS, QUERIES = (RANDOM.normal(size=shape).astype(np.float32) for shape in ((4, 5, 3), (4, 3)))
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]], bool)


def plain(layer: TargetAttention, keys: np.ndarray, mask: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Returns what one query reads of one sequence, as the paper writes it."""
    total = np.zeros(len(query))
    for key in keys[mask]:
        hidden = np.concatenate([key, query, key - query, key * query])
        for kernel, bias, slope in zip(layer.kernels, layer.biases, layer.slopes, strict=False):
            hidden = hidden @ kernel.numpy() + bias.numpy()
            hidden = np.where(hidden > 0, hidden, slope.numpy() * hidden)
        (weight,) = hidden @ layer.kernels[-1].numpy() + layer.biases[-1].numpy()
        total += weight * key
    return total


@pytest.fixture(params=[4, (4, 2)], ids=["a hidden layer", "two"])
def layer(request) -> TargetAttention:
    layer = TargetAttention(request.param)
    layer(KEYS, MASK, QUERIES)
    layer.set_weights([RANDOM.normal(size=weight.shape) for weight in layer.get_weights()])
    return layer


@pytest.mark.parametrize("compiled", [False, True])
def test_it_is_the_sum_of_positions_that_a_perceptron_weighs(layer, compiled):
    call = tf.function(layer, jit_compile=compiled)
    expected = [plain(layer, *example) for example in zip(KEYS, MASK, QUERIES, strict=True)]
    np.testing.assert_allclose(call(KEYS, MASK, QUERIES), expected, atol=1e-5, rtol=1e-5)


def test_weights_do_not_add_up_to_one(layer):
    once = layer(KEYS[:1, :1], MASK[:1, :1], QUERIES[:1])
    twice = layer(np.repeat(KEYS[:1, :1], 2, axis=1), MASK[:1, :2], QUERIES[:1])
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-5)


@pytest.mark.parametrize("user", range(4))
def test_one_users_sequence_serves_all_queries(layer, user):
    for queries in (QUERIES, QUERIES[:0]):
        repeated = [np.repeat(x[user : user + 1], len(queries), axis=0) for x in (KEYS, MASK)]
        served = layer(KEYS[user : user + 1], MASK[user : user + 1], queries)
        # Outputs are up to 60; a small one is what terms as large leave, with their rounding.
        np.testing.assert_allclose(served, layer(*repeated, queries), rtol=1e-5, atol=1e-4)


def test_padded_positions_have_no_part_in_output_or_gradient(layer):
    def output_and_gradients(keys):
        keys = tf.constant(keys)
        with tf.GradientTape() as tape:
            tape.watch(keys)
            output = layer(keys, MASK, QUERIES)
        return output, *tape.gradient(output, [keys, *layer.trainable_weights])

    garbage = np.where(MASK[:, :, np.newaxis], KEYS, np.nan)
    for dirty, clean in zip(output_and_gradients(garbage), output_and_gradients(KEYS), strict=True):
        np.testing.assert_array_equal(dirty, clean)
    np.testing.assert_array_equal(output_and_gradients(KEYS)[1][~MASK], 0.0)
