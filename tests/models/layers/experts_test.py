import numpy as np
import pytest
import tensorflow as tf

from models.layers import Experts


def test_an_expert_is_a_perceptron_with_its_own_weights():
    experts = Experts(count=2, units=(1,))
    x = tf.constant([[1.0, 2.0]])
    experts(x)
    # e0 = relu(1*1 + 2*1 + 0.5) = 3.5; e1 = relu(1*2 - 2*3 + 1) = 0
    experts.set_weights([np.array([[[1.0], [1.0]], [[2.0], [-3.0]]]), np.array([[[0.5]], [[1.0]]])])
    np.testing.assert_allclose(experts(x), [[[3.5]], [[0.0]]])


def test_every_expert_may_read_its_own_input():
    experts = Experts(count=2, units=(1,), activation=None)
    x = tf.constant([[[1.0]], [[10.0]]])
    experts(x)
    experts.set_weights([np.array([[[2.0]], [[3.0]]]), np.array([[[0.0]], [[1.0]]])])
    np.testing.assert_allclose(experts(x), [[[2.0]], [[31.0]]])


@pytest.mark.parametrize(
    "initializer",
    ["glorot_uniform", tf.keras.initializers.GlorotUniform(seed=7), tf.keras.initializers.RandomNormal(seed=7)],
    ids=["by name", "seeded uniform", "seeded normal"],
)
def test_no_two_experts_start_equal_even_from_a_seeded_initializer(initializer):
    experts = Experts(count=4, units=(8, 8), kernel_initializer=initializer)
    experts(tf.ones([1, 8]))
    kernels = [kernel.numpy()[e] for kernel in experts.kernels for e in range(4)]
    for i, a in enumerate(kernels):
        assert all(not np.allclose(a, b) for b in kernels[:i])


def test_an_experts_scale_does_not_depend_on_how_many_there_are():
    spread = []
    for count in (1, 16):
        experts = Experts(count=count, units=(256,))
        experts(tf.ones([1, 256]))
        spread.append(float(tf.math.reduce_std(experts.kernels[0])))
    # Glorot, uniform: sqrt(2 / (256 + 256))
    np.testing.assert_allclose(spread, [0.0625, 0.0625], rtol=0.05)


def test_weights_are_count_times_those_of_one_perceptron():
    experts = Experts(count=3, units=(5, 4))
    experts(tf.ones([2, 7]))
    assert experts.count_params() == 3 * ((7 + 1) * 5 + (5 + 1) * 4)


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_any_batch_size_works(batch):
    assert Experts(count=2, units=(4,))(tf.zeros([batch, 3])).shape == (2, batch, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0, "units": (4,)}, "count: expected an integer of at least 1, got 0"),
        ({"count": 2, "units": ()}, r"units: expected at least 1 layer sizes, got \(\)"),
        ({"count": 2, "units": (4, -1)}, "units: expected an integer of at least 1, got -1"),
    ],
)
def test_wrong_arguments_are_named_with_the_value_received(arguments, message):
    with pytest.raises(ValueError, match=message):
        Experts(**arguments)


def test_an_input_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"expected \(batch, inputs\) or \(2, batch, inputs\), got shape \(3, 4, 5\)"):
        Experts(count=2, units=(4,))(tf.zeros([3, 4, 5]))
