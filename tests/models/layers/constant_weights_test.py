"""What is made of weights alone is in a served graph as a constant, with the same bits."""

import numpy as np
import tensorflow as tf

from models.layers import PLE, UserItemRows
from models.layers.constant_weights import constant_weights, of_weights


def test_within_the_block_a_graph_holds_what_the_weights_were():
    weight = tf.Variable(2.0)

    @tf.function
    def served(x):
        with constant_weights():
            return x * of_weights(lambda: weight + 1.0)

    @tf.function
    def trained(x):
        return x * of_weights(lambda: weight + 1.0)

    assert (served(2.0).numpy(), trained(2.0).numpy()) == (6.0, 6.0)
    weight.assign(5.0)
    assert (served(2.0).numpy(), trained(2.0).numpy()) == (6.0, 12.0)
    assert [node.op for node in served.get_concrete_function(2.0).graph.as_graph_def().node].count(
        "ReadVariableOp"
    ) == 0


def test_a_level_reads_no_kernel_of_its_first_layers_and_gives_the_same_bits():
    ple = PLE(tasks=2, levels=2, task_experts=2, shared_experts=1, units=(16,))
    random = np.random.default_rng(1)
    user, items = (random.normal(size=shape).astype(np.float32) for shape in ((1, 5), (7, 3)))
    ple(tf.concat([tf.repeat(user, 7, 0), items], 1))

    def read(block) -> tuple[list[np.ndarray], int]:
        @tf.function
        def call(user, items):
            with block():
                return ple(UserItemRows(user, items))

        graph = call.get_concrete_function(user, items).graph.as_graph_def()
        return [output.numpy() for output in call(user, items)], sum(node.op == "ReadVariableOp" for node in graph.node)

    plain, reads = read(lambda: tf.name_scope("plain"))
    constant, fewer = read(constant_weights)
    assert fewer < reads
    for one, another in zip(plain, constant, strict=True):
        np.testing.assert_array_equal(one, another)
