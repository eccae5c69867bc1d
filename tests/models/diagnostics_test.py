import numpy as np
import pytest
import tensorflow as tf

from models.diagnostics import diagnose, gradient_cosines, scalars


def test_gates_are_named_by_task_and_averaged_over_real_examples(build, disturb, batch):
    model = build()
    model(batch)
    disturb(model)
    found = diagnose(model, batch)["gate_weights"]
    names = [f"level_{level}/task_{task}" for level in (1, 2) for task in ("click", "completion", "like")]
    assert set(found) == {*names, "level_1/shared"}
    padded = {name: tf.concat([value, tf.zeros_like(value)], axis=0) for name, value in batch.items()}
    for name, weights in diagnose(model, padded)["gate_weights"].items():
        assert sum(weights) == pytest.approx(1.0, abs=1e-4)
        assert weights == pytest.approx(found[name], abs=1e-5)
    expected = tf.reduce_mean(model.gate_weights(batch)["level_2/task_2"], axis=0)
    np.testing.assert_allclose(found["level_2/task_like"], expected, atol=1e-5)


@pytest.mark.parametrize(("labels", "low", "high"), [("same", 0.99, 1.01), ("opposite", -1.01, -0.99)])
def test_gradients_agree_where_two_tasks_want_the_same_and_conflict_where_they_want_the_opposite(
    build, batch, labels, low, high
):
    model = build(routing="shared_bottom")
    model(batch)
    for kernel in model.towers.networks.kernels:
        # Tower 2, of `like`, is tower 0, of `click`.
        kernel.assign(tf.gather(kernel, [0, 1, 0]))
    # Logits close to 0: a label of 1 then pulls as much as a label of 0 pushes.
    kernel.assign(1e-3 * kernel)
    space = tf.ones_like(batch["space_click"])
    label = batch["label_click"] if labels == "same" else 1.0 - batch["label_click"]
    cosines = gradient_cosines(model, {**batch, "label_like": label, "space_like": space, "space_click": space})
    assert set(cosines) == {"click|completion", "click|like", "completion|like"}
    assert low < cosines["click|like"] < high


def test_tasks_that_share_nothing_have_no_cosine(build, batch):
    model = build(routing="single_task")
    model(batch)
    assert gradient_cosines(model, batch) == {}


def test_a_task_without_an_example_in_the_batch_has_no_cosine(build, batch):
    model = build(routing="shared_bottom")
    model(batch)
    without = {**batch, "space_like": tf.zeros_like(batch["space_like"])}
    assert set(gradient_cosines(model, without)) == {"click|completion"}


def test_diagnosing_changes_neither_weights_nor_metrics(build, batch):
    model = build(bottom="dtrn")
    model(batch)
    model.compute_loss(batch)
    before, metrics = model.get_weights(), model.task_metrics()
    found = diagnose(model, batch)
    for value, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, now)
    assert model.task_metrics() == metrics
    assert found["loss_weights"] == {"click": 1.0, "completion": 1.0, "like": 1.0}
    assert found["refinement_weights"]["like"]["hour"] == 1.0


def test_scalars_have_a_path_for_a_name():
    nested = {"gate_weights": {"level_1/task_like": [0.25, 0.75]}, "loss_weights": {"like": 1.0}}
    assert scalars(nested) == {
        "gate_weights/level_1/task_like/0": 0.25,
        "gate_weights/level_1/task_like/1": 0.75,
        "loss_weights/like": 1.0,
    }
