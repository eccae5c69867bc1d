import numpy as np
import pytest
import tensorflow as tf

from models.layers import MMoE, SharedBottom

LN3 = np.log(3.0)
X = tf.random.stateless_normal([16, 6], seed=(1, 2))


def test_each_task_mixes_the_same_experts_by_its_own_gate():
    mixture = MMoE(tasks=2, experts=2, units=(1,))
    mixture(tf.ones([1, 1]))
    mixture.pools[0].kernels[0].assign(tf.zeros([2, 1, 1]))
    mixture.pools[0].biases[0].assign([[[4.0]], [[12.0]]])
    mixture.gates[0][0].set_weights([np.array([[LN3, 0.0]])])
    mixture.gates[0][1].set_weights([np.array([[0.0, LN3]])])
    # 3/4*4 + 1/4*12 and 1/4*4 + 3/4*12
    np.testing.assert_allclose([y.numpy().item() for y in mixture(tf.ones([1, 1]))], [6.0, 10.0], rtol=1e-6)


def test_with_one_expert_it_is_the_shared_bottom():
    mixture, bottom = MMoE(tasks=2, experts=1, units=(5, 4)), SharedBottom(tasks=2, units=(5, 4))
    mixture(X), bottom(X)
    bottom.bottom.set_weights(mixture.pools[0].get_weights())
    for mine, theirs in zip(mixture(X), bottom(X), strict=True):
        # Not to the bit: two matmuls of one product may be of two shapes.
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_experts_of_an_upper_level_read_mixtures_of_their_own():
    mixture = MMoE(tasks=1, experts=2, units=(1,), levels=2, activation=None)
    x = tf.ones([1, 1])
    mixture(x)
    below, above = mixture.pools
    below.kernels[0].assign(tf.zeros([2, 1, 1]))
    below.biases[0].assign([[[4.0]], [[12.0]]])
    above.kernels[0].assign([[[1.0]], [[10.0]]])
    mixture.gates[0][0].set_weights([np.array([[LN3, 0.0]])])
    mixture.gates[0][1].set_weights([np.array([[0.0, LN3]])])
    mixture.gates[1][0].set_weights([np.array([[0.0, 0.0]])])
    # the upper experts read 6 and 10, and give 6 and 100; the task's gate takes half of each
    np.testing.assert_allclose(mixture(x)[0], [[53.0]], rtol=1e-6)


def test_gates_between_levels_belong_to_experts_and_those_of_the_last_to_tasks():
    weights = MMoE(tasks=2, experts=3, units=4, levels=2).gate_weights(X)
    below, above = [f"level_1/expert_{e}" for e in range(3)], ["level_2/task_0", "level_2/task_1"]
    assert list(weights) == below + above
    for value in weights.values():
        np.testing.assert_allclose(tf.reduce_sum(value, axis=1), np.ones(16), rtol=1e-6)


def test_gates_read_their_tasks_input_and_experts_the_mean():
    mixture = MMoE(tasks=2, experts=2, units=(3,))
    a, b = X, 2.0 * X
    mixture(X)
    experts = mixture.pools[0]((a + b) / 2.0)
    for output, gate, x in zip(mixture([a, b]), mixture.gates[0], (a, b), strict=True):
        np.testing.assert_allclose(output, tf.einsum("be,ebu->bu", gate(x), experts), rtol=1e-5)


@pytest.mark.parametrize(("name", "value"), [("tasks", 0), ("experts", 0), ("levels", 0)])
def test_wrong_arguments_are_named_with_the_value_received(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected an integer of at least 1, got {value}"):
        MMoE(**{"tasks": 1, "experts": 1, "units": 4, name: value})
