"""What a ranking loss orders within: written by Transform, read by training, and asked of no request."""

import numpy as np
import pytest
import tensorflow as tf

from models.export.signatures import Servable
from models.features import transformed_feature_spec
from models.training import reading
from models.training.build import build_ranker
from models.training.grouping import groups_of
from models.training.step import training_function
from schema.columns import RANKING_GROUP
from schema.modelling import RankingLoss
from schema.statistics import Request

USERS = ["a", "a", "b", "b", "a", "b", "b", "a"]
REQUESTS = [10, 10, 10, 10, 20, 20, 20, 20]


def example(user: str, request: int, label: float) -> bytes:
    features = tf.train.Example()
    values = features.features.feature
    values["user_id"].bytes_list.value.append(user.encode())
    values["item_id"].bytes_list.value.append(b"x")
    values["timestamp"].int64_list.value.append(request)
    values["request_start"].int64_list.value.append(request)
    for task in ("click", "completion", "like"):
        values[f"label_{task}"].float_list.value.append(label)
        values[f"space_{task}"].float_list.value.append(1.0)
    return features.SerializeToString()


def ranked(spec, within: str | None):
    training = spec.training.model_copy(
        update={"ranking_loss": RankingLoss(kind="jrc", within=within), "batch_size": 8}
    )
    log = spec.log.model_copy(update={"request": Request(gap="30m")})
    return spec.model_copy(update={"features": (), "behaviours": (), "training": training, "log": log})


@pytest.fixture(scope="module")
def by_request(spec, transform_examples, tmp_path_factory):
    rows = [example(user, request, float(i % 2)) for i, (user, request) in enumerate(zip(USERS, REQUESTS, strict=True))]
    return transform_examples(ranked(spec, None), {"train": rows}, tmp_path_factory.mktemp("ranked"))


def test_examples_of_one_request_of_one_user_share_a_group(by_request):
    records = reading.serialized_examples(reading.example_files([by_request.examples["train"]], "train"))
    groups = groups_of(records.batch(10).get_single_element()).numpy()
    # Beam writes the rows in any order, but of each request there are two.
    assert sorted(np.unique(groups, return_counts=True)[1].tolist()) == [2, 2, 2, 2]


def test_a_ranker_that_is_trained_by_requests_is_served_without_them(spec, by_request):
    changed = ranked(spec, None)
    records = reading.serialized_examples(reading.example_files([by_request.examples["train"]], "train"))
    model = build_ranker(changed, by_request.output, None, 2)
    step = training_function(model)
    losses = [float(step(batch)) for seed in range(2) for batch in reading.batches(records, changed, 8, seed)]
    assert np.isfinite(losses).all()
    score = Servable(model, by_request.output).functions["serving_default"]
    request = tf.train.Example.FromString(example("a", 0, 0.0))
    for name in ("request_start", "label_click", "space_click"):
        del request.features.feature[name]
    outputs = score(tf.constant([request.SerializeToString()]))
    assert {name: output.shape.as_list() for name, output in outputs.items()} == {
        name: [1, 1] for name in ("click", "completion", "like")
    }


@pytest.mark.parametrize(("within", "orders"), [(None, True), ("request", True), ("user", False)])
def test_without_a_word_the_request_is_ordered_where_there_is_one(spec, within, orders):
    assert ranked(spec, within).orders_requests == orders
    without = spec.model_copy(update={"training": ranked(spec, within).training})
    assert not without.orders_requests


def test_without_a_ranking_loss_there_is_no_group(spec):
    assert RANKING_GROUP not in transformed_feature_spec(spec)
