import numpy as np
import pytest
import tensorflow as tf

from models.layers import STEM, AdaTT

LN3 = np.log(3.0)
X = tf.random.stateless_normal([16, 6], seed=(1, 2))


def constant_experts(pools, values) -> None:
    """Makes every expert give a constant, whatever it reads."""
    for pool, constants in zip(pools, values, strict=True):
        pool.kernels[0].assign(tf.zeros_like(pool.kernels[0]))
        pool.biases[0].assign(tf.reshape(tf.constant(constants), pool.biases[0].shape))


def norm_of_gradient(layer, output: int, inputs, variables) -> float:
    with tf.GradientTape() as tape:
        value = layer(inputs)[output]
    gradients = tape.gradient(value, variables)
    return sum(0.0 if gradient is None else float(tf.reduce_sum(tf.abs(gradient))) for gradient in gradients)


def test_a_task_fuses_all_experts_and_adds_its_own():
    fusion = AdaTT(tasks=2, levels=1, task_experts=(1, 2), shared_experts=1, units=(1,))
    x = tf.ones([1, 1])
    fusion(x)
    constant_experts(fusion.pools[0], [[4.0], [8.0, 16.0], [12.0]])
    fusion.gates[0][0].set_weights([np.array([[LN3, 0.0, LN3, LN3]])])
    fusion.gates[0][1].set_weights([np.array([[LN3, LN3, 0.0, 0.0]])])
    # all: 3/10*4 + 1/10*8 + 3/10*16 + 3/10*12 and 3/8*4 + 3/8*8 + 1/8*16 + 1/8*12; native: 4, and the mean of 8 and 16
    np.testing.assert_allclose([y.numpy().item() for y in fusion(x)], [10.4 + 4.0, 8.0 + 12.0], rtol=1e-6)
    fusion.native["level_1_task_1_native"].assign([0.0, 2.0])
    np.testing.assert_allclose(fusion(x)[1], [[8.0 + 32.0]], rtol=1e-6)


def test_without_the_residual_it_is_a_mixture_of_all_experts():
    fusion = AdaTT(tasks=2, levels=1, task_experts=2, shared_experts=0, units=(4,), native_residual=False)
    outputs = fusion(X)
    experts = tf.concat([pool(X) for pool in fusion.pools[0]], axis=0)
    for output, gate in zip(outputs, fusion.gates[0], strict=True):
        np.testing.assert_allclose(output, tf.einsum("be,ebu->bu", gate(X), experts), rtol=1e-5)


def test_a_task_learns_through_other_tasks_experts_at_every_level():
    fusion = AdaTT(tasks=2, levels=2, task_experts=2, shared_experts=1, units=(4,))
    fusion(X)
    for level in fusion.pools:
        assert norm_of_gradient(fusion, 0, X, level[1].kernels) > 0


def test_the_last_level_has_no_shared_unit_and_the_others_have():
    weights = AdaTT(tasks=2, levels=2, task_experts=2, shared_experts=1, units=(4,)).gate_weights(X)
    assert {name: value.shape.as_list() for name, value in weights.items()} == {
        **{f"level_1/{name}": [16, 5] for name in ("task_0", "task_1", "shared")},
        **{f"level_2/{name}": [16, 5] for name in ("task_0", "task_1")},
    }


def test_a_stem_task_reads_every_expert_and_trains_only_its_own_and_the_shared():
    stem = STEM(tasks=2, levels=1, task_experts=1, shared_experts=1, units=(1,))
    x = tf.ones([1, 1])
    stem([x, x, x])
    constant_experts(stem.pools[0], [[4.0], [8.0], [12.0]])
    # A gate reads the task's own input and the shared one, here 1 + 1.
    stem.gates[0][0].set_weights([np.array([[LN3 / 2, 0.0, 0.0]])])
    # 3/5*4 + 1/5*8 + 1/5*12
    np.testing.assert_allclose(stem([x, x, x])[0], [[6.4]], rtol=1e-6)
    other_experts, own_experts, shared_experts = (stem.pools[0][i].trainable_variables for i in (1, 0, 2))
    assert norm_of_gradient(stem, 0, [x, x, x], other_experts) == 0.0
    assert norm_of_gradient(stem, 0, [x, x, x], own_experts) > 0
    assert norm_of_gradient(stem, 0, [x, x, x], shared_experts) > 0


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_a_stem_tasks_own_input_and_experts_get_no_gradient_of_another_task(levels):
    stem = STEM(tasks=2, levels=levels, task_experts=2, shared_experts=1, units=(4,))
    inputs = [tf.Variable(X), tf.Variable(2.0 * X), tf.Variable(3.0 * X)]
    with tf.GradientTape(persistent=True) as tape:
        output = stem(inputs)[0]
    own_gradient, other_gradient, shared_gradient = tape.gradient(output, inputs, unconnected_gradients="zero")
    assert not np.any(other_gradient)
    assert np.any(own_gradient)
    assert np.any(shared_gradient)
    for pools in stem.pools:
        own_gradient, other_gradient, shared_gradient = (
            tape.gradient(output, pool.kernels[0], unconnected_gradients="zero") for pool in pools
        )
        assert not np.any(other_gradient)
        assert np.any(own_gradient)
        assert np.any(shared_gradient)


def test_stem_gates_tell_every_level():
    weights = STEM(tasks=2, levels=2, task_experts=(1, 2), shared_experts=1, units=(4,)).gate_weights(X)
    assert list(weights) == ["level_1/task_0", "level_1/task_1", "level_1/shared", "level_2/task_0", "level_2/task_1"]
    assert {value.shape[1] for value in weights.values()} == {4}


@pytest.mark.parametrize("layer", [AdaTT, STEM])
def test_wrong_counts_are_named_with_the_value_received(layer):
    with pytest.raises(ValueError, match=r"task_experts: expected one count or 2 .*got \(1,\)"):
        layer(tasks=2, levels=1, task_experts=(1,), shared_experts=1, units=(4,))
    with pytest.raises(ValueError, match="levels: expected an integer of at least 1, got 0"):
        layer(tasks=2, levels=0, task_experts=1, shared_experts=1, units=(4,))
