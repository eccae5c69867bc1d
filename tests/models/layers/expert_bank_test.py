import numpy as np
import pytest
import tensorflow as tf

from models.layers import ExpertBank, Experts, Gate, UserItemRows, fuse

LN3 = np.log(3.0)


def normal(seed: int, *shape: int) -> tf.Tensor:
    return tf.random.stateless_normal(shape, seed=(seed, 0))


def bank(joint: bool, units: tuple[int, ...] = (4,)) -> ExpertBank:
    """Three pools of one to three experts, and gates over as many as each likes, for the first two streams."""
    return ExpertBank([Experts(count, units) for count in (1, 3, 2)], [Gate(4), Gate(6)], joint)


def with_weights_of(twin: ExpertBank, original: ExpertBank, inputs) -> ExpertBank:
    original(inputs), twin(inputs)
    random = np.random.default_rng(1)
    original.set_weights([random.normal(size=weight.shape) for weight in original.get_weights()])
    twin.set_weights(original.get_weights())
    return twin


def assert_close(a, b) -> None:
    for ours, theirs in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("joint", [False, True])
def test_pools_and_gates_read_their_streams(joint):
    level = ExpertBank([Experts(2, (1,)), Experts(1, (1,))], [Gate(2)], joint)
    x, z = tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 0.0]])
    level([x, z])
    level.pools[0].kernels[0].assign([[[1.0], [1.0]], [[1.0], [-1.0]]])
    level.pools[0].biases[0].assign([[[0.0]], [[4.0]]])
    level.pools[1].kernels[0].assign([[[2.0], [9.0]]])
    level.gates[0].set_weights([np.array([[LN3, 0.0], [0.0, 0.0]])])
    pools, weights = level([x, z])
    # 1 + 2 and 1 - 2 + 4; 2 * 3; softmax of ln 3 and 0
    assert [[expert.numpy().item() for expert in pool] for pool in pools] == [[3.0, 3.0], [6.0]]
    np.testing.assert_allclose(weights, [[[0.75, 0.25]]], rtol=1e-6)
    # A gate may read something else than the pools: 3 ln 3 of the other stream.
    np.testing.assert_allclose(level([x, z], [z])[1], [[[27.0 / 28.0, 1.0 / 28.0]]], rtol=1e-6)
    np.testing.assert_allclose(level.select([z]), [[[27.0 / 28.0, 1.0 / 28.0]]], rtol=1e-6)


@pytest.mark.parametrize("units", [(4,), (4, 3, 2)])
@pytest.mark.parametrize("streams", ["one tensor", "two tensors", "one user's rows"])
def test_a_joint_matmul_gives_what_several_give(units, streams):
    x, z, rows = normal(1, 5, 6), normal(2, 5, 6), UserItemRows(normal(3, 1, 2), normal(4, 5, 4))
    inputs = {"one tensor": [x, x, x], "two tensors": [x, z, x], "one user's rows": [rows, rows, rows]}[streams]
    apart = bank(joint=False, units=units)
    together = with_weights_of(bank(joint=True, units=units), apart, [x, x, x])
    assert_close(together(inputs), apart(inputs))


def test_a_joint_bank_multiplies_each_tensor_once():
    def products(inputs) -> int:
        level = bank(joint=True)
        function = tf.function(lambda x, z: level(inputs(x, z))).get_concrete_function(normal(1, 5, 6), normal(2, 5, 6))
        return sum(op.type == "MatMul" for op in function.graph.get_operations())

    assert products(lambda x, z: [x, x, x]) == 1
    assert products(lambda x, z: [x, z, x]) == 2


def test_fusing_is_a_weighted_sum_of_experts():
    weights = tf.constant([[0.25, 0.75], [1.0, 0.0]])
    experts = [tf.constant([[4.0], [1.0]]), tf.constant([[8.0], [2.0]])]
    np.testing.assert_allclose(fuse(weights, experts), [[7.0], [1.0]])


def test_a_fused_sum_is_taken_in_the_precision_of_the_weights():
    weights, experts = tf.constant([[1.0, 1.0, -1.0]]), [tf.constant([[x]], tf.bfloat16) for x in (256.0, 1.0, 256.0)]
    fused = fuse(weights, experts)
    # In bfloat16, 256 + 1 is 256.
    assert fused.dtype == tf.bfloat16
    assert float(fused[0, 0]) == 1.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ExpertBank([], []), "pools: expected at least one, and one a gate, got 0 for 0 gates"),
        (lambda: ExpertBank([Experts(1, 4)], [Gate(1)] * 2), "got 1 for 2 gates"),
        (lambda: bank(joint=False)([tf.ones([1, 2])]), r"expected a list of 3 tensors .one per pool., got 1 tensors"),
    ],
)
def test_wrong_banks_are_named_with_the_value_received(build, message):
    with pytest.raises(ValueError, match=message):
        build()
