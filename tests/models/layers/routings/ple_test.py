import numpy as np
import pytest
import tensorflow as tf

from models.layers import CGC, PLE, Gate

LN3 = np.log(3.0)


def test_a_gate_is_a_softmax_of_one_linear_layer():
    gate = Gate(experts=2)
    x = tf.constant([[1.0, 1.0], [1.0, 0.0]])
    gate(x)
    assert [weight.shape for weight in gate.weights] == [(2, 2)]
    gate.set_weights([np.array([[0.0, 0.0], [LN3, 0.0]])])
    np.testing.assert_allclose(gate(x), [[0.75, 0.25], [0.5, 0.5]], rtol=1e-6)


def constant_experts(level: CGC, values: list[list[float]]) -> None:
    """Makes every expert give a constant, whatever it reads."""
    for pool, constants in zip(level.pools, values, strict=True):
        pool.kernels[0].assign(tf.zeros_like(pool.kernels[0]))
        pool.biases[0].assign(tf.reshape(tf.constant(constants), pool.biases[0].shape))


def test_fused_outputs_are_the_gates_mixture_of_own_and_shared_experts():
    level = CGC(task_experts=(1, 2), shared_experts=1, units=(1,), shared_gate=True)
    streams = [tf.ones([1, 1])] * 3
    level(streams)
    constant_experts(level, [[4.0], [8.0, 16.0], [12.0]])
    level.gates[0].set_weights([np.array([[LN3, 0.0]])])
    level.gates[1].set_weights([np.array([[0.0, LN3, LN3]])])
    level.gates[2].set_weights([np.array([[LN3, LN3, 0.0, 0.0]])])
    fused = [output.numpy().item() for output in level(streams)]
    # task 0: 3/4*4 + 1/4*12; task 1: 1/7*8 + 3/7*16 + 3/7*12; shared, over all: 3/8*4 + 3/8*8 + 1/8*16 + 1/8*12
    np.testing.assert_allclose(fused, [6.0, 92.0 / 7.0, 8.0], rtol=1e-6)


def test_counts_may_differ_and_the_shared_pool_has_its_own():
    level = CGC(task_experts=(1, 3), shared_experts=2, units=(4,), shared_gate=True)
    level([tf.ones([2, 5])] * 3)
    assert [pool.count for pool in level.pools] == [1, 3, 2]
    assert [weights.shape[1] for weights in level.gate_weights([tf.ones([2, 5])] * 3)] == [3, 5, 6]


def gradient_norms(outputs, variables, tape) -> list[float]:
    gradients = tape.gradient(outputs, variables)
    return [0.0 if gradient is None else float(tf.reduce_sum(tf.abs(gradient))) for gradient in gradients]


@pytest.mark.parametrize("levels", [1, 2])
def test_a_task_never_sees_another_tasks_experts_in_the_last_level(levels):
    ple = PLE(tasks=2, levels=levels, task_experts=2, shared_experts=2, units=(4,))
    x = tf.random.stateless_normal([16, 6], seed=(1, 2))
    ple(x)
    last = ple.extractions[-1]
    with tf.GradientTape(persistent=True) as tape:
        outputs = ple(x)
    others = last.pools[1].trainable_variables + last.gates[1].trainable_variables
    assert gradient_norms(outputs[0], others, tape) == [0.0] * len(others)
    assert min(gradient_norms(outputs[0], last.pools[2].kernels, tape)) > 0
    assert min(gradient_norms(outputs[0], last.pools[0].kernels, tape)) > 0


def test_tasks_meet_in_the_shared_stream_below_the_last_level():
    ple = PLE(tasks=2, levels=2, task_experts=2, shared_experts=2, units=(4,))
    x = tf.random.stateless_normal([16, 6], seed=(1, 2))
    ple(x)
    with tf.GradientTape() as tape:
        output = ple(x)[0]
    # Task 1's experts of level 1 reach task 0 through the shared gate, which covers all experts.
    assert min(gradient_norms(output, ple.extractions[0].pools[1].kernels, tape)) > 0


def test_gates_get_a_gradient_at_initialisation():
    ple = PLE(tasks=2, levels=2, task_experts=2, shared_experts=2, units=(4,))
    x = tf.random.stateless_normal([16, 6], seed=(1, 2))
    ple(x)
    gates = [gate.kernel for level in ple.extractions for gate in level.gates]
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(output) for output in ple(x)])
    assert min(gradient_norms(loss, gates, tape)) > 0


def test_later_levels_read_what_was_fused_and_not_the_raw_input():
    ple = PLE(tasks=2, levels=2, task_experts=1, shared_experts=1, units=(4,))
    ple(tf.ones([1, 6]))
    second = ple.extractions[1]
    assert {gate.kernel.shape[0] for gate in second.gates} == {4}
    assert {pool.kernels[0].shape[1] for pool in second.pools} == {4}
    constant_experts(ple.extractions[0], [[1.0] * 4, [2.0] * 4, [3.0] * 4])
    for gate in ple.extractions[0].gates:
        gate.kernel.assign(tf.zeros_like(gate.kernel))
    a, b = (ple(x)[0].numpy() for x in (tf.ones([1, 6]), -5.0 * tf.ones([1, 6])))
    np.testing.assert_array_equal(a, b)


def test_only_the_last_level_has_no_shared_gate():
    ple = PLE(tasks=3, levels=3, task_experts=1, shared_experts=1, units=(4,))
    assert [len(level.gates) for level in ple.extractions] == [4, 4, 3]


def test_one_level_of_ple_is_cgc():
    ple = PLE(tasks=2, levels=1, task_experts=(1, 2), shared_experts=2, units=(4,))
    cgc = CGC(task_experts=(1, 2), shared_experts=2, units=(4,))
    x = tf.random.stateless_normal([3, 6], seed=(1, 2))
    ple(x), cgc([x] * 3)
    cgc.set_weights(ple.get_weights())
    for a, b in zip(ple(x), cgc([x] * 3), strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_task_may_bring_its_own_input_and_the_shared_stream_reads_their_mean():
    ple = PLE(tasks=2, levels=1, task_experts=1, shared_experts=1, units=(4,))
    a, b = (tf.random.stateless_normal([3, 6], seed=(seed, 0)) for seed in (1, 2))
    level = ple.extractions[0]
    expected = level([a, b, (a + b) / 2])
    for mine, theirs in zip(ple([a, b]), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


def test_a_batch_of_one_keeps_its_axis():
    ple = PLE(tasks=2, levels=2, task_experts=1, shared_experts=1, units=(4,))
    assert [output.shape.as_list() for output in ple(tf.ones([1, 6]))] == [[1, 4], [1, 4]]


def test_gate_weights_are_told_by_level_and_task():
    ple = PLE(tasks=2, levels=2, task_experts=(1, 2), shared_experts=3, units=(4,))
    weights = ple.gate_weights(tf.random.stateless_normal([5, 6], seed=(1, 2)))
    shapes = {name: value.shape.as_list() for name, value in weights.items()}
    assert shapes == {
        "level_1/task_0": [5, 4],
        "level_1/task_1": [5, 5],
        "level_1/shared": [5, 6],
        "level_2/task_0": [5, 4],
        "level_2/task_1": [5, 5],
    }
    for value in weights.values():
        np.testing.assert_allclose(tf.reduce_sum(value, axis=1), np.ones(5), rtol=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PLE(2, 0, 1, 1, (4,)), "levels: expected an integer of at least 1, got 0"),
        (lambda: PLE(2, 1, (1,), 1, (4,)), r"task_experts: expected one count or 2 .*got \(1,\)"),
        (
            lambda: PLE(2, 1, (1, 0), 1, (4,)),
            "task_experts: expected an integer of at least 1, got 0",
        ),
        (lambda: CGC((), 1, (4,)), r"task_experts: expected one count per task, got \(\)"),
        (lambda: CGC((1,), 0, (4,)), "shared_experts: expected an integer of at least 1, got 0"),
        (lambda: CGC((1,), 1, (4,))(tf.ones([1, 2])), "expected a list of 2 tensors"),
        (lambda: PLE(2, 1, 1, 1, (4,))([tf.ones([1, 2])]), "got a list of 1"),
    ],
)
def test_wrong_arguments_are_named_with_the_value_received(build, message):
    with pytest.raises(ValueError, match=message):
        build()
