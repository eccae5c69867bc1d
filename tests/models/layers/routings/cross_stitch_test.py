import numpy as np
import pytest
import tensorflow as tf

from models.layers import CrossStitch, CustomizedSharing, SharedBottom, SingleTask

X = tf.random.stateless_normal([5, 3], seed=(1, 2))


def test_after_each_layer_a_task_reads_a_mixture_of_all_networks():
    stitch = CrossStitch(tasks=2, units=(1, 1), activation=None)
    x = tf.ones([1, 1])
    stitch(x)
    for network, kernels in zip(stitch.networks, ([2.0, 6.0], [10.0, 1.0]), strict=True):
        network.kernels[0].assign(tf.reshape(tf.constant(kernels), [2, 1, 1]))
    stitch.stitches[0].assign([[0.5, 0.5], [1.0, -1.0]])
    stitch.stitches[1].assign([[1.0, 0.25], [0.0, 1.0]])
    # layer 1 gives 2 and 6, stitched 4 and -4; layer 2 gives 40 and -4, stitched 39 and -4
    np.testing.assert_allclose([y.numpy().item() for y in stitch(x)], [39.0, -4.0])


def test_it_starts_close_to_networks_apart():
    stitch = CrossStitch(tasks=3, units=(4,), own=0.8)
    stitch(X)
    np.testing.assert_allclose(stitch.stitches[0], [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]], rtol=1e-6)


def test_without_stitches_it_is_single_task():
    stitch, single = CrossStitch(tasks=2, units=(4, 3), own=1.0), SingleTask(tasks=2, units=(4, 3))
    stitch(X), single(X)
    single.bottoms.set_weights([weights for network in stitch.networks for weights in network.get_weights()])
    for mine, theirs in zip(stitch(X), single(X), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_one_task_has_nothing_to_stitch():
    stitch = CrossStitch(tasks=1, units=(4,))
    stitch(X)
    np.testing.assert_array_equal(stitch.stitches[0], [[1.0]])


@pytest.mark.parametrize("own", [-0.1, 1.5])
def test_a_share_outside_of_0_and_1_is_refused(own):
    with pytest.raises(ValueError, match=f"own: expected a share in .0, 1., got {own}"):
        CrossStitch(tasks=2, units=(4,), own=own)


def test_customized_sharing_is_the_shared_bottom_beside_single_task():
    both, bottom, single = CustomizedSharing(2, (4, 3)), SharedBottom(2, (4, 3)), SingleTask(2, (4, 3))
    both(X), bottom(X), single(X)
    bottom.bottom.set_weights(both.shared.get_weights())
    single.bottoms.set_weights(both.own.get_weights())
    for mine, shared, unshared in zip(both(X), bottom(X), single(X), strict=True):
        np.testing.assert_allclose(mine, tf.concat([shared, unshared], axis=-1), rtol=1e-6)
