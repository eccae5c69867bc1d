"""What every routing keeps to: one interface."""

import numpy as np
import pytest
import tensorflow as tf

from models.layers import (
    CrossStitch,
    CustomizedSharing,
    MultiGateMixture,
    ProgressiveExtraction,
    SharedBottom,
    SingleTask,
    StemExtraction,
    TaskFusion,
    Towers,
)

ROUTINGS = {
    "shared_bottom": lambda: SharedBottom(tasks=3, units=(5, 4)),
    "single_task": lambda: SingleTask(tasks=3, units=(5, 4)),
    "customized_sharing": lambda: CustomizedSharing(tasks=3, units=(5, 2)),
    "cross_stitch": lambda: CrossStitch(tasks=3, units=(5, 4)),
    "mmoe": lambda: MultiGateMixture(tasks=3, experts=2, units=(5, 4)),
    "ml_mmoe": lambda: MultiGateMixture(tasks=3, experts=2, units=(5, 4), levels=2),
    "cgc": lambda: ProgressiveExtraction(tasks=3, levels=1, task_experts=(1, 2, 1), shared_experts=2, units=(5, 4)),
    "ple": lambda: ProgressiveExtraction(tasks=3, levels=2, task_experts=2, shared_experts=1, units=4),
    "adatt": lambda: TaskFusion(tasks=3, levels=2, task_experts=(1, 2, 1), shared_experts=1, units=4),
    "stem": lambda: StemExtraction(tasks=3, levels=2, task_experts=(1, 2, 1), shared_experts=1, units=4),
}
routings = pytest.mark.parametrize("build", ROUTINGS.values(), ids=ROUTINGS)


@routings
@pytest.mark.parametrize("batch", [0, 1, 7])
def test_a_routing_gives_one_tensor_a_task_from_one_tensor_or_one_a_task(build, batch):
    routing, x = build(), tf.ones([batch, 6])
    for inputs in (x, [x, x, x]):
        assert [output.shape.as_list() for output in routing(inputs)] == [[batch, 4]] * 3


@routings
def test_equal_inputs_given_per_task_are_the_same_as_one_shared_input(build):
    routing, x = build(), tf.random.stateless_normal([3, 6], seed=(1, 2))
    for a, b in zip(routing(x), routing([x, x, x]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@routings
def test_a_routing_refuses_another_number_of_inputs(build):
    with pytest.raises(ValueError, match="got a list of 2"):
        build()([tf.ones([1, 6])] * 2)


def test_single_task_shares_nothing():
    routing, x = SingleTask(tasks=2, units=(3, 2), activation="tanh"), tf.random.stateless_normal([8, 4], seed=(1, 2))
    routing(x)
    with tf.GradientTape() as tape:
        output = routing(x)[0]
    for gradient in tape.gradient(output, routing.trainable_variables):
        np.testing.assert_array_equal(gradient[1], tf.zeros_like(gradient[1]))
        assert float(tf.reduce_sum(tf.abs(gradient[0]))) > 0


def test_shared_bottom_gives_every_task_the_same():
    first, second = SharedBottom(tasks=2, units=(3,))(tf.random.stateless_normal([8, 4], seed=(1, 2)))
    np.testing.assert_array_equal(first, second)


def test_a_tower_is_a_perceptron_with_a_linear_end():
    towers = Towers(tasks=2, units=(1,))
    inputs = [tf.constant([[1.0]]), tf.constant([[2.0]])]
    towers(inputs)
    kernels, biases = [[[2.0]], [[-1.0]]], [[[1.0]], [[0.0]]]
    last_kernels, last_biases = [[[-3.0]], [[5.0]]], [[[0.5]], [[-0.5]]]
    towers.set_weights([np.array(value) for value in (kernels, biases, last_kernels, last_biases)])
    # -3 * relu(2*1 + 1) + 0.5 = -8.5;  5 * relu(-2) - 0.5 = -0.5
    np.testing.assert_allclose([output.numpy().item() for output in towers(inputs)], [-8.5, -0.5])


def test_towers_start_from_the_given_logits():
    towers = Towers(tasks=2, units=(3,), output_bias=[1.5, -2.0])
    outputs = towers([tf.zeros([1, 4])] * 2)
    np.testing.assert_allclose([output.numpy().item() for output in outputs], [1.5, -2.0])


def test_towers_refuse_another_number_of_biases():
    with pytest.raises(ValueError, match=r"output_bias: expected 2 values .*got \[1.0\]"):
        Towers(tasks=2, output_bias=[1.0])
