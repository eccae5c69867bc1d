"""A ranker with regressions without bounds: trained, saved, served and started from."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from models.export import signatures
from models.ranker import Ranker
from models.tasks import LabelSummary
from models.training import reading
from models.training.build import build_ranker
from models.training.warm_start import BaseModelError, warm_start
from schema.spec import RankingSpec
from tests.models.conftest import COUNTS, random_examples

WATCH = {"name": "watch_s", "column": "play", "kind": "regression", "transform": "log1p"}
SHIFT = {"name": "shift", "column": "moved", "kind": "regression", "loss": "huber"}


@pytest.fixture(scope="module")
def regressions(spec) -> RankingSpec:
    """The small spec, lean, whose tasks are a click, seconds watched, and how far a user scrolls, up or down."""
    declared = spec.model_dump(exclude={"features", "tasks"}, exclude_defaults=True)
    declared["users"] = declared["items"] = None
    declared["behaviours"] = []
    return RankingSpec.model_validate({**declared, "tasks": [{"name": "click", "column": "click"}, WATCH, SHIFT]})


@pytest.fixture(scope="module")
def lean(regressions, transform_examples, tmp_path_factory) -> tft.TFTransformOutput:
    """What Transform makes of examples of these columns alone."""
    raw = {"train": random_examples(regressions, COUNTS["train"], 0)}
    return transform_examples(regressions, raw, tmp_path_factory.mktemp("lean")).output


@pytest.fixture(scope="module")
def labelled(batch) -> dict[str, tf.Tensor]:
    """A batch of the small spec, where what is watched follows from the user's id, in hundreds of units."""
    user, random = batch["user_id"].numpy(), np.random.default_rng(0)
    watched = np.expm1(3.0 + user % 3 + random.normal(scale=0.1, size=user.shape))
    labels = {"watch_s": watched, "shift": 500.0 * (user % 2) - 400.0 + random.normal(scale=10.0, size=user.shape)}
    more = {f"label_{name}": tf.constant(values, tf.float32) for name, values in labels.items()}
    return {**batch, **more, **{f"space_{name}": tf.ones(user.shape) for name in labels}}


def summaries(labelled) -> dict[str, LabelSummary]:
    result = {"click": LabelSummary(64, 0.5, 0.0, 1.0)}
    for name, scale in (("watch_s", np.log1p), ("shift", np.asarray)):
        labels = labelled[f"label_{name}"].numpy()
        scaled = scale(labels)
        result[name] = LabelSummary(64, labels.mean(), labels.min(), labels.max(), scaled.mean(), scaled.std())
    return result


@pytest.fixture(scope="module")
def trained(regressions, lean, labelled) -> Ranker:
    ranker = build_ranker(regressions, lean, summaries(labelled), steps=1)
    step = tf.function(ranker.train_step)
    for _ in range(80):
        step(labelled)
    return ranker


@pytest.fixture(scope="module")
def saved(trained, lean, tmp_path_factory) -> str:
    directory = str(tmp_path_factory.mktemp("regressions"))
    signatures.save(trained, lean, directory)
    return directory


def test_an_untrained_ranker_starts_from_the_means(regressions, lean, labelled):
    labels = summaries(labelled)
    ranker = build_ranker(regressions, lean, labels)
    for kernel in ranker.towers.networks.kernels:
        kernel.assign(tf.zeros_like(kernel))
    outputs = ranker(labelled)
    np.testing.assert_allclose(outputs["shift"], np.full([64, 1], labels["shift"].mean), rtol=1e-4)
    expected = np.expm1(labels["watch_s"].scale_mean)
    np.testing.assert_allclose(outputs["watch_s"], np.full([64, 1], expected), rtol=1e-4)


def test_training_comes_closer_to_the_labels_than_their_mean(trained, labelled):
    outputs = trained(labelled)
    for task in ("watch_s", "shift"):
        labels = labelled[f"label_{task}"].numpy()
        error = np.mean((outputs[task].numpy()[:, 0] - labels) ** 2)
        assert error < 0.3 * np.var(labels), task
    assert outputs["watch_s"].numpy().min() >= 0
    assert outputs["shift"].numpy().min() < -200


def test_the_summaries_of_labels_are_on_the_scale_of_the_loss(regressions):
    def record(watched: float, moved: float, space: float) -> bytes:
        example = tf.train.Example()
        values = {"label_watch_s": watched, "label_shift": moved, "label_click": 1.0}
        spaces = {"space_watch_s": space, "space_shift": 1.0, "space_click": 1.0}
        for name, value in {**values, **spaces}.items():
            example.features.feature[name].float_list.value.append(value)
        return example.SerializeToString()

    records = [record(0.0, -2.0, 1.0), record(np.e**2 - 1, 4.0, 1.0), record(50.0, 4.0, 0.0)]
    _, label_summaries = reading.label_summaries(tf.data.Dataset.from_tensor_slices(records), regressions, "train")
    # log(1 + y) is 0 and 2.
    assert dataclasses.astuple(label_summaries["watch_s"])[4:] == pytest.approx((1.0, 1.0), rel=1e-5)
    assert dataclasses.astuple(label_summaries["shift"]) == pytest.approx(
        (3, 2.0, -2.0, 4.0, 2.0, np.sqrt(8)), rel=1e-6
    )


def test_rank_has_powers_of_what_is_positive_and_refuses_others(saved):
    rank = tf.saved_model.load(saved).signatures["rank"]
    request = {"user_id": tf.constant("u1"), "item_id": tf.constant([f"item_id{i}" for i in range(5)])}
    outputs = rank(**request, exponents=tf.constant([1.0, 0.5, 0.0]))
    np.testing.assert_allclose(outputs["score"], outputs["click"] * outputs["watch_s"] ** 0.5, rtol=1e-4)
    for power in (1.0, -0.5):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="exponents: expected 0 for shift, whose output may be"
        ):
            rank(**request, exponents=tf.constant([1.0, 1.0, power]))


def test_another_days_training_goes_on_in_the_units_of_the_weights(saved, trained, regressions, lean, labelled):
    labels = {name: dataclasses.replace(summary, scale_deviation=7.0) for name, summary in summaries(labelled).items()}
    fresh = build_ranker(regressions, lean, labels)
    warm_start(fresh, lean, saved)
    for task, expected in trained(labelled).items():
        np.testing.assert_allclose(fresh(labelled)[task], expected, rtol=1e-4)


def test_weights_of_another_kind_of_task_are_refused(saved, regressions, lean):
    tasks = (*regressions.tasks[:2], regressions.tasks[2].model_copy(update={"transform": "log1p"}))
    changed = regressions.model_copy(update={"tasks": tasks})
    with pytest.raises(BaseModelError, match="its unbounded tasks differ"):
        warm_start(build_ranker(changed, lean), lean, saved)
