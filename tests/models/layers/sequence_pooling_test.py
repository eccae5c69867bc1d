import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.layers import MaskedPooling

X = tf.constant([[[1.0, 10.0], [3.0, 30.0], [7.0, 70.0]]])


def test_without_ages_it_is_the_mean_of_the_real_positions():
    mask = tf.constant([[True, True, False]])
    np.testing.assert_allclose(MaskedPooling()(X, mask), [[2.0, 20.0]])


def test_training_starts_from_the_mean_with_ages_too():
    mask, ages = tf.constant([[True, True, False]]), tf.constant([[5.0, 1.0, -1.0]])
    np.testing.assert_allclose(MaskedPooling()(X, mask, ages), [[2.0, 20.0]])


def test_forgetting_is_a_power_law_of_age():
    pooling = MaskedPooling()
    mask, ages = tf.constant([[True, True, True]]), tf.math.log(tf.constant([[4.0, 2.0, 1.0]]))
    pooling(X, mask, ages)
    pooling.forgetting.assign(1.0)
    # weights 1/4, 1/2, 1 over their sum 7/4: (1*1 + 3*2 + 7*4) / 7 = 5
    np.testing.assert_allclose(pooling(X, mask, ages), [[5.0, 50.0]], rtol=1e-6)


def test_an_empty_sequence_gives_the_learned_vector():
    pooling = MaskedPooling()
    mask = tf.constant([[False, False, False]])
    np.testing.assert_array_equal(pooling(X, mask, -tf.ones([1, 3])), [[0.0, 0.0]])
    pooling.empty.assign([0.25, -4.0])
    np.testing.assert_array_equal(pooling(X, mask, -tf.ones([1, 3])), [[0.25, -4.0]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(pooling(X, mask, -tf.ones([1, 3])))
    np.testing.assert_array_equal(tape.gradient(loss, pooling.empty), [1.0, 1.0])


@settings(max_examples=25, deadline=None)
@given(
    garbage=st.floats(-1e6, 1e6, width=32),
    age=st.floats(-1.0, 1e3, width=32),
    forgetting=st.floats(-3.0, 3.0, width=32),
)
def test_what_a_padded_position_holds_changes_nothing_to_the_bit(garbage, age, forgetting):
    pooling, mask = MaskedPooling(), tf.constant([[True, True, False]])
    clean = tf.tensor_scatter_nd_update(X, [[0, 2]], [[0.0, 0.0]])
    dirty = tf.tensor_scatter_nd_update(X, [[0, 2]], [[garbage, garbage]])
    pooling(X, mask)
    pooling.forgetting.assign(forgetting)
    a = pooling(clean, mask, tf.constant([[2.0, 1.0, -1.0]]))
    b = pooling(dirty, mask, tf.constant([[2.0, 1.0, age]]))
    np.testing.assert_array_equal(a, b)


def test_more_padding_changes_nothing():
    pooling, mask, ages = MaskedPooling(), tf.constant([[True, True, False]]), tf.constant([[2.0, 1.0, -1.0]])
    pooling(X, mask)
    pooling.forgetting.assign(0.7)
    longer = [
        tf.pad(X, [[0, 0], [0, 50], [0, 0]]),
        tf.pad(mask, [[0, 0], [0, 50]]),
        tf.pad(ages, [[0, 0], [0, 50]], constant_values=-1.0),
    ]
    # Not to the bit: another length may be added up, and exponentiated, by other instructions.
    np.testing.assert_allclose(pooling(X, mask, ages), pooling(*longer), rtol=1e-6)


def test_ages_far_apart_stay_finite():
    pooling, mask = MaskedPooling(), tf.constant([[True, True, True]])
    pooling(X, mask)
    pooling.forgetting.assign(50.0)
    np.testing.assert_allclose(pooling(X, mask, tf.constant([[20.0, 10.0, 5.0]])), [[7.0, 70.0]], rtol=1e-6)


def test_an_input_without_a_length_is_refused():
    with pytest.raises(ValueError, match=r"expected \(batch, length, dim\), got shape \(1, 3\)"):
        MaskedPooling()(tf.ones([1, 3]), tf.ones([1, 3], tf.bool))
