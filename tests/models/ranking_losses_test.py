"""The ranking losses against sums over pairs and examples as the equations write them, and what they leave alone."""

import math

import numpy as np
import pytest
import tensorflow as tf

from models.ranker import Ranker
from models.ranking_losses import contrast, pairwise_logistic
from models.training.step import train_step
from schema.columns import RANKING_GROUP
from schema.modelling import RankingLoss
from tests.models.conftest import sizes_of

RANDOM = np.random.default_rng(4)
ROWS = 24
LABELS = (RANDOM.random(ROWS) < 0.4).astype(np.float32)
SPACE = (RANDOM.random(ROWS) < 0.8).astype(np.float32)
GROUPS = RANDOM.integers(5, size=ROWS).astype(np.int32)
LOGITS = RANDOM.normal(scale=2.0, size=(ROWS, 2)).astype(np.float32)


def pairwise_by_hand(labels, logits, space, groups) -> float:
    total = 0.0
    for i in range(len(labels)):
        losses = [
            math.log1p(math.exp(logits[j][0] - logits[i][0]))
            for j in range(len(labels))
            if space[i] and space[j] and groups[i] == groups[j] and labels[i] == 1 and labels[j] == 0
        ]
        total += sum(losses) / len(losses) if losses else 0.0
    return total / float(sum(space)) if any(space) else 0.0


def contrast_by_hand(labels, logits, space, groups) -> float:
    rows = [i for i in range(len(labels)) if space[i]]
    # f_0 and f_1 of z = f_1 - f_0 and their mean.
    pair = [(mean - z / 2, mean + z / 2) for z, mean in np.asarray(logits, np.float64)]
    losses = []
    for i in rows:
        label = int(labels[i])
        total = sum(math.exp(pair[j][label]) for j in rows if groups[j] == groups[i])
        losses.append(-math.log(math.exp(pair[i][label]) / total))
    return sum(losses) / len(losses) if losses else 0.0


BOTH = pytest.mark.parametrize(
    ("loss", "by_hand"), [(pairwise_logistic, pairwise_by_hand), (contrast, contrast_by_hand)]
)


@BOTH
@pytest.mark.parametrize("compiled", [False, True])
def test_a_loss_is_what_the_sums_over_pairs_and_examples_give(loss, by_hand, compiled):
    value = tf.function(loss, jit_compile=compiled)(LABELS, LOGITS, SPACE, GROUPS)
    assert float(value) == pytest.approx(by_hand(LABELS, LOGITS, SPACE, GROUPS), rel=1e-5)
    assert float(value) > 0


@BOTH
def test_a_gradient_is_the_numerical_derivative(loss, by_hand):
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        value = loss(LABELS, logits, SPACE, GROUPS)
    step, numerical = 1e-4, np.zeros_like(LOGITS)
    for index in np.ndindex(*LOGITS.shape):
        up, down = LOGITS.astype(np.float64), LOGITS.astype(np.float64)
        up[index] += step
        down[index] -= step
        numerical[index] = (by_hand(LABELS, up, SPACE, GROUPS) - by_hand(LABELS, down, SPACE, GROUPS)) / (2 * step)
    np.testing.assert_allclose(tape.gradient(value, logits), numerical, atol=1e-5)


@BOTH
def test_rows_outside_the_space_neither_count_nor_move(loss, by_hand):
    logits = tf.Variable(np.where(SPACE[:, np.newaxis] > 0, LOGITS, 80.0).astype(np.float32))
    with tf.GradientTape() as tape:
        value = loss(np.where(SPACE > 0, LABELS, np.nan).astype(np.float32), logits, SPACE, GROUPS)
    inside = SPACE > 0
    alone = by_hand(LABELS[inside], LOGITS[inside], SPACE[inside], GROUPS[inside])
    assert float(value) == pytest.approx(alone, rel=1e-5)
    assert not np.any(tape.gradient(value, logits).numpy()[~inside])


@BOTH
def test_where_there_is_nothing_to_order_the_loss_is_0_and_moves_nothing(loss, by_hand):
    for space, groups in ((np.zeros(ROWS, np.float32), GROUPS), (SPACE, np.arange(ROWS, dtype=np.int32))):
        logits = tf.Variable(LOGITS)
        with tf.GradientTape() as tape:
            value = loss(LABELS, logits, space, groups)
        assert float(value) == pytest.approx(0.0, abs=1e-6)
        np.testing.assert_allclose(tape.gradient(value, logits), 0.0, atol=1e-6)


@BOTH
def test_a_group_that_is_raised_as_a_whole_changes_nothing(loss, by_hand):
    # So the mean of the outputs is cross-entropy's alone to say.
    raised = LOGITS + np.float32(3.0) * (GROUPS == 2)[:, np.newaxis]
    assert float(loss(LABELS, raised, SPACE, GROUPS)) == pytest.approx(
        float(loss(LABELS, LOGITS, SPACE, GROUPS)), rel=1e-5
    )


def test_large_logits_stay_finite():
    logits = tf.Variable(LOGITS * 1e4)
    for loss in (pairwise_logistic, contrast):
        with tf.GradientTape() as tape:
            value = loss(LABELS, logits, SPACE, GROUPS)
        assert np.isfinite(value)
        assert np.isfinite(tape.gradient(value, logits)).all()


def ranker_of(spec, transformed, **ranking_loss) -> Ranker:
    """A ranker with few columns that is trained with the loss; without one if nothing is given."""
    declared = RankingLoss(**ranking_loss) if ranking_loss else None
    training = spec.training.model_copy(update={"ranking_loss": declared})
    lean = {"features": (), "behaviours": spec.behaviours[:1], "training": training}
    changed = spec.model_copy(update=lean)
    tf.keras.utils.set_random_seed(1)
    model = Ranker(changed, sizes_of(changed, transformed), compiled="nothing")
    model.compile(optimizer=tf.keras.optimizers.legacy.Adam(0.02))
    return model


@pytest.fixture(scope="module")
def grouped_batch(batch) -> dict[str, tf.Tensor]:
    return {**batch, RANKING_GROUP: tf.constant(np.arange(64) // 8, tf.int32)}


@pytest.mark.parametrize(("kind", "loss"), [("pairwise", pairwise_logistic), ("jrc", contrast)])
def test_a_binary_tasks_loss_in_training_has_its_ranking_loss_and_no_others_has(
    spec, transformed, grouped_batch, kind, loss
):
    model = ranker_of(spec, transformed, kind=kind, weight=0.3, tasks={"like": 0.0})
    logits = model.towers(model.routing(model.encode(grouped_batch)))
    plain = model.task_losses(grouped_batch, training=False, compute_metrics=False)
    trained = model.task_losses(grouped_batch, training=True, compute_metrics=False)
    added = loss(grouped_batch["label_click"], logits[0], grouped_batch["space_click"], grouped_batch[RANKING_GROUP])
    np.testing.assert_allclose(trained, np.add(plain, [0.3 * float(added), 0.0, 0.0]), rtol=1e-5)
    assert float(added) > 0


def test_the_second_logit_of_jrc_is_in_no_output(spec, transformed, grouped_batch):
    model = ranker_of(spec, transformed, kind="jrc")
    before = {name: output.numpy() for name, output in model(grouped_batch).items()}
    assert {output.shape for output in before.values()} == {(64, 1)}
    for weight in (model.towers.networks.kernels[-1], model.towers.networks.biases[-1]):
        weight.assign(tf.concat([weight[..., :1], weight[..., 1:] + 5.0], axis=-1))
    for name, output in model(grouped_batch).items():
        np.testing.assert_array_equal(output, before[name])


def test_ranking_losses_leave_the_calibration_of_cross_entropy(spec, transformed, grouped_batch):
    calibrations = {}
    for kind in (None, "pairwise", "jrc"):
        model = ranker_of(spec, transformed, **({"kind": kind, "weight": 0.5} if kind else {}))
        step = tf.function(lambda model=model: train_step(model, grouped_batch))
        for _ in range(60):
            step()
        predicted = float(tf.reduce_mean(model(grouped_batch)["click"]))
        calibrations[kind] = predicted / float(tf.reduce_mean(grouped_batch["label_click"]))
    assert calibrations["pairwise"] == pytest.approx(calibrations[None], rel=0.02)
    assert calibrations["jrc"] == pytest.approx(calibrations[None], rel=0.02)
