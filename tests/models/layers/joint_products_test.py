import numpy as np
import tensorflow as tf

from models.layers import Experts, SharedRows
from models.layers.joint_products import joint_products


def normal(seed: int, *shape: int) -> tf.Tensor:
    return tf.random.stateless_normal(shape, seed=(seed, 0))


def test_joint_products_are_those_of_each_input_with_its_kernel():
    x, z = normal(1, 5, 3), normal(2, 5, 4)
    kernels = [normal(3, 3, 2), normal(4, 4, 2), normal(5, 3, 6)]
    for joint, alone in zip(
        joint_products([x, z, x], [[kernels[0]], [kernels[1]], [kernels[2], kernels[0]]]),
        [x @ kernels[0], z @ kernels[1], tf.concat([x @ kernels[2], x @ kernels[0]], axis=1)],
        strict=True,
    ):
        np.testing.assert_allclose(joint, alone, rtol=1e-5, atol=1e-6)


def test_rows_that_begin_alike_are_multiplied_without_being_written_out():
    rows = SharedRows(normal(1, 1, 2), normal(2, 5, 3))
    kernels = [normal(3, 5, 2), normal(4, 5, 1)]
    for joint, kernel in zip(joint_products([rows, rows], [[k] for k in kernels]), kernels, strict=True):
        np.testing.assert_allclose(joint, rows.rows() @ kernel, rtol=1e-5, atol=1e-6)


def test_experts_continue_from_the_product_of_their_first_layer():
    for units in ((4,), (4, 3, 2)):
        experts, x = Experts(count=3, units=units, last_activation=None), normal(1, 5, 6)
        alone = experts(x)
        joint = experts.from_product(x @ tf.concat(experts.first_kernels(), axis=1))
        np.testing.assert_allclose(tf.stack(joint), alone, rtol=1e-5, atol=1e-6)
