"""What every routing keeps to: one interface."""

import numpy as np
import pytest
import tensorflow as tf

from models.layers import Routing, SharedBottom, SingleTask, Towers
from models.routing import ROUTINGS
from schema.spec import Model

TASKS = 3
MODEL = Model(levels=2, expert_units=(4,), task_experts=(1, 2, 1), shared_experts=2)
routings = pytest.mark.parametrize("name", ROUTINGS)


def build(name: str) -> tf.keras.layers.Layer:
    return ROUTINGS[name].build(MODEL, TASKS)


@routings
def test_every_routing_has_the_interface_of_one(name):
    routing, x = build(name), tf.ones([2, 6])
    assert isinstance(routing, Routing)
    assert routing.takes_user_item_rows
    assert routing.tasks == TASKS
    assert {weights.shape[0] for weights in routing.gate_weights(x).values()} <= {2}


@routings
@pytest.mark.parametrize("batch", [0, 1, 7])
def test_a_routing_gives_one_tensor_a_task_from_one_tensor_or_one_a_task(name, batch):
    routing, x = build(name), tf.ones([batch, 6])
    units = 8 if name == "customized_sharing" else 4
    for inputs in (x, [x, x, x]):
        assert [output.shape.as_list() for output in routing(inputs)] == [[batch, units]] * 3


@routings
def test_equal_inputs_given_per_task_are_the_same_as_one_shared_input(name):
    routing, x = build(name), tf.random.stateless_normal([3, 6], seed=(1, 2))
    for a, b in zip(routing(x), routing([x, x, x]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@routings
def test_a_routing_refuses_another_number_of_inputs(name):
    with pytest.raises(ValueError, match="got a list of 2"):
        build(name)([tf.ones([1, 6])] * 2)


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
