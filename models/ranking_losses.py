"""Losses on the order of a group's examples, its request's or its user's, beside the cross-entropy of binary tasks.

Neither changes when all logits of a group rise together: what the outputs are on the mean of what is trained on is
left to cross-entropy. An example that counts for 2 (`space`) is as if it were there twice. A group is what of it stands
in one batch, with several devices in one replica's part of it.
"""

from collections.abc import Callable

import tensorflow as tf

from models.distribution import all_reduce_sum
from schema.modelling import Training


def towers_logits(training: Training) -> int:
    """Returns how many logits a tower gives: what JRC contrasts besides `z` is a second one, which is not served."""
    return 2 if training.ranking_loss and training.ranking_loss.kind == "jrc" else 1


def pairwise_logistic(labels: tf.Tensor, logits: tf.Tensor, space: tf.Tensor, groups: tf.Tensor) -> tf.Tensor:
    """Returns how far each positive stands above the negatives of its group, a mean over the sample space of

        mean_j log(1 + exp(z_j - z_i))      j the negatives of i's group, for a positive i; else 0

    So a positive that has negatives counts as much as in cross-entropy, in a rare task and in a large group too: a mean
    over pairs would let the few of a rare task weigh far more than its examples. It takes as many passes over the batch
    as the longest group has examples.

    Reference: Burges et al., "Learning to Rank using Gradient Descent" (RankNet), ICML 2005, eq. 3, of a pair.

    Args:
      labels: 0s and 1s, `(batch,)`.
      logits: `(batch, 1)` or more, of which the first is read.
      space: what each example counts for, `(batch,)`; those outside the space, of 0, are in no pair.
      groups: equal for examples of one group, `(batch,)`.
    """
    by_group = tf.argsort(groups, stable=True)
    labels, z, space, groups = (tf.gather(column, by_group) for column in (labels, logits[:, 0], space, groups))
    is_positive = labels > 0.5
    negatives = tf.math.unsorted_segment_sum(tf.where(is_positive, 0.0, space), groups, tf.size(groups))
    # What a pair counts for is the product of its two sides: a positive's weight, and a negative's share of those.
    shares = tf.math.divide_no_nan(space, tf.gather(negatives, groups))
    sides = tf.where(is_positive, space, -shares)
    return tf.math.divide_no_nan(*all_reduce_sum(_pair_losses(z, sides, groups), tf.reduce_sum(space)))


@tf.custom_gradient
def _pair_losses(z: tf.Tensor, sides: tf.Tensor, groups: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Returns the sum of the pairs' losses, and its gradient, which one loop over distances within groups computes.

    Args:
      z, sides, groups: `(batch,)`, in the order of the groups.
    """
    size = tf.size(z)
    longest = tf.reduce_max(tf.math.unsorted_segment_sum(tf.ones_like(groups), groups, size))

    def add_distance(distance: tf.Tensor, total: tf.Tensor, gradient: tf.Tensor) -> tuple[tf.Tensor, ...]:
        z_behind, sides_behind, groups_behind = (tf.roll(column, -distance, 0) for column in (z, sides, groups))
        is_pair = (groups == groups_behind) & (sides * sides_behind < 0.0) & (tf.range(size) < size - distance)
        weights = tf.where(is_pair, -sides * sides_behind, 0.0)
        direction = tf.where(is_pair, tf.sign(sides), 0.0)
        shortfall = direction * (z_behind - z)
        losses = weights * tf.nn.softplus(shortfall)
        slope = weights * direction * tf.sigmoid(shortfall)
        return distance + 1, total + tf.reduce_sum(losses), gradient + tf.roll(slope, distance, 0) - slope

    start = (tf.constant(1), tf.zeros_like(z[0]), tf.zeros_like(z))
    _, total, gradient = tf.while_loop(lambda distance, *_: distance < longest, add_distance, start)
    return total, lambda upstream: (upstream * gradient, None, None)


def contrast(labels: tf.Tensor, logits: tf.Tensor, space: tf.Tensor, groups: tf.Tensor) -> tf.Tensor:
    """Returns JRC's listwise loss, `-log p(x | y)` within the group: the mean over the sample space of

        -log( exp(f_y(x)) / sum_x' exp(f_y(x')) )      y the label of x, x' all examples of its group

    of the logits `f_1` of a positive and `f_0` of a negative. A tower's two are `z = f_1 - f_0`, so that the output
    stays `sigmoid(z) = p(y = 1 | x)`, and the mean `(f_1 + f_0) / 2`; the two are those of the paper turned.

    Reference: Sheng et al., "Joint Optimization of Ranking and Calibration with Contextualized Hybrid Model", KDD 2023
    (arXiv:2208.06164): its loss is `alpha * cross-entropy + (1 - alpha) * this`.

    Args:
      labels, space, groups: as of `pairwise_logistic`.
      logits: `(batch, 2)`.
    """
    # Nothing is read more than twice: TensorFlow adds up more gradients of a tensor in an order that changes.
    difference, mean = tf.unstack(logits, axis=1)
    half = difference / 2.0
    of_positive, of_negative = mean + half, mean - half
    label_logits = tf.where(labels > 0.5, of_positive, of_negative)
    # What positives are compared with, and what negatives are.
    total = tf.where(
        labels > 0.5,
        _group_logsumexp(of_positive, space, groups),
        _group_logsumexp(of_negative, space, groups),
    )
    losses = space * tf.where(space > 0, total - label_logits, 0.0)
    return tf.math.divide_no_nan(*all_reduce_sum(tf.reduce_sum(losses), tf.reduce_sum(space)))


def _group_logsumexp(values: tf.Tensor, space: tf.Tensor, groups: tf.Tensor) -> tf.Tensor:
    """Returns of each example `log sum w exp` of its group's values inside the space, `(batch,)`; of none about 0."""
    is_inside = space > 0
    size = tf.size(values)
    present = tf.where(is_inside, tf.stop_gradient(values), tf.float32.min)
    most = tf.gather(tf.math.unsorted_segment_max(present, groups, size), groups)
    shifted = tf.where(is_inside, values - most, 0.0)
    exponentials = space * tf.where(is_inside, tf.exp(shifted), 0.0)
    sums = tf.gather(tf.math.unsorted_segment_sum(exponentials, groups, size), groups)
    return tf.where(is_inside, most + tf.math.log(tf.where(is_inside, sums, 1.0)), 0.0)


_LOSSES = {"pairwise": pairwise_logistic, "jrc": contrast}


def ranking_loss(training: Training) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns the function of the spec's `training.ranking_loss`, which there must be."""
    assert training.ranking_loss
    return _LOSSES[training.ranking_loss.kind]
