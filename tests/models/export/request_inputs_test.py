"""What a request may hold, and what is refused by the name of the input."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from example_tensors import values_of, without_lists
from exported_rankers import input_names

from schema.columns import label_name, model_columns, space_name
from schema.spec import RankingSpec
from serving.local_server.json_tensors import parse, read_inputs
from serving.model.errors import ServingError
from serving.model.predict import Limits, predict
from serving.model.saved_model import SavedModel
from serving.model.tensorflow_c import Tensor


@pytest.mark.parametrize("count", [0, 1, 3])
def test_any_number_of_examples_is_served(served, transformed, examples, rank_request, predict_request, count):
    calls = {
        "serving_default": {"examples": tf.constant(transformed.raw["eval"][:count], tf.string)},
        "predict": predict_request(examples[:count]),
        "rank": rank_request(examples[0], examples[:count]),
    }
    for signature, request in calls.items():
        assert {output.shape.as_list()[0] for output in served[signature](**request).values()} == {count}


def test_labels_and_spaces_are_not_asked_for(served, expected, transformed, spec):
    targets = {name(task) for task in spec.tasks for name in (label_name, space_name)}
    example = tf.train.Example.FromString(transformed.raw["eval"][0])
    for name in [*targets, "timestamp"]:
        del example.features.feature[name]
    outputs = served["serving_default"](examples=tf.constant([example.SerializeToString()]))
    np.testing.assert_allclose(outputs["click"], expected["click"][:1], atol=1e-6)


def test_lists_may_be_absent_from_an_example_and_empty_in_a_request(
    served, spec, examples, rank_request, predict_request, written_out
):
    bare = [without_lists(example, spec) for example in examples[:4]]
    rows = served["serving_default"](examples=written_out(bare[0], bare))
    ranked = served["rank"](**rank_request(bare[0], bare))
    assert np.isfinite(ranked["score"]).all()
    np.testing.assert_allclose(ranked["click"], rows["click"][:, 0], atol=1e-6)
    same_user = [tf.train.Example.FromString(record) for record in written_out(bare[0], bare).numpy()]
    np.testing.assert_allclose(served["predict"](**predict_request(same_user))["click"], rows["click"], atol=1e-6)


def test_unknown_ids_and_missing_numbers_are_ranked(served, spec, examples, rank_request):
    request = rank_request(examples[0], examples[:4])
    for column in model_columns(spec):
        values = request[column.name]
        unknown = "never seen" if column.dtype == "string" else np.float32(np.nan)
        if column.dtype == "string" or column.feature is not None:
            request[column.name] = tf.fill(tf.shape(values), unknown)
    outputs = served["rank"](**request)
    assert np.isfinite(outputs["score"]).all()
    # Nothing but the tags tells them apart, where a row has more of them.
    assert len({round(float(output), 6) for output in outputs["click"]}) <= 2


def test_a_history_above_its_length_keeps_the_newest(served, spec, examples, rank_request, predict_request):
    user, longer = (tf.train.Example.FromString(examples[1].SerializeToString()) for _ in range(2))
    lengths = {behaviour.name: behaviour.max_length for behaviour in spec.behaviours}
    for column in model_columns(spec):
        if column.behaviour is not None:
            newest, older = (
                (values_of(examples[3], column) * 20)[: lengths[column.behaviour] * (column.width or 1)],
                values_of(examples[4], column),
            )
            assert newest
            assert older
            for example, values in ((user, newest), (longer, older + newest)):
                feature = example.features.feature[column.name]
                written = feature.bytes_list if column.dtype == "string" else feature.float_list
                written.value[:] = values
    newest_scores, longer_scores = (served["rank"](**rank_request(example, examples[:4])) for example in (user, longer))
    np.testing.assert_allclose(longer_scores["click"], newest_scores["click"], atol=1e-6)
    newest_scores, longer_scores = (served["predict"](**predict_request([example])) for example in (user, longer))
    np.testing.assert_allclose(longer_scores["click"], newest_scores["click"], atol=1e-6)


@pytest.mark.parametrize("signature", ["rank", "predict"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_age_that_is_not_finite_is_refused(served, examples, rank_request, predict_request, signature, wrong):
    user = next(example for example in examples if example.features.feature["liked_age_s"].float_list.value)
    request = rank_request(user, [user]) if signature == "rank" else predict_request([user])
    request["liked_age_s"] = tf.fill(tf.shape(request["liked_age_s"]), np.float32(wrong))
    with pytest.raises(tf.errors.InvalidArgumentError, match="liked_age_s: expected finite seconds"):
        served[signature](**request)


@pytest.mark.parametrize("name", ["author", "tags", "price", "embedding", "watched_age_s", "liked_author"])
def test_a_wrong_length_is_refused_by_the_name_of_the_input(served, examples, rank_request, name):
    request = rank_request(examples[1], examples[:4])
    request[name] = tf.concat([request[name], request[name][:1] if len(request[name]) else [b"a"]], axis=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name}: expected the length of "):
        served["rank"](**request)


def test_predict_refuses_a_wrong_width_by_the_name_of_the_input(served, examples, predict_request):
    request = predict_request(examples[:4])
    request["watched_age_s"] = request["watched_age_s"][:, :1]
    with pytest.raises(tf.errors.InvalidArgumentError, match="watched_age_s: expected the length of watched_item_id"):
        served["predict"](**request)


@pytest.mark.parametrize("signature", ["rank", "predict"])
def test_numbers_that_are_no_whole_vectors_are_refused(served, examples, rank_request, predict_request, signature):
    request = rank_request(examples[1], examples[:4]) if signature == "rank" else predict_request(examples[:4])
    request["watched_embedding"] = request["watched_embedding"][..., :-1]
    message = "watched_embedding: expected 3 times the length of watched_item_id"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served[signature](**request)


def test_json_holds_vectors_as_lists_and_a_behaviours_as_one(saved, served, spec, examples, rank_request):
    """As TensorFlow Serving's REST takes them; a user without a past has empty lists."""
    model = SavedModel(Path(saved))
    lengths = {len(values_of(example, past(spec))): example for example in examples}
    for length in (0, 5):
        request = rank_request(lengths[length], examples[:4])
        body = {name: jsonable(value) for name, value in request.items()}
        assert len(body["watched_embedding"]) == 3 * length
        assert np.shape(body["embedding"]) == (4, 3)
        inputs = read_inputs(parse(json.dumps({"inputs": body}).encode()), model.signatures["rank"])
        answer = predict(model, model.signatures["rank"], inputs, ("click",), Limits())
        np.testing.assert_allclose(answer["click"], served["rank"](**request)["click"], atol=1e-6)
    model.close()


def past(spec: RankingSpec):
    return next(column for column in model_columns(spec) if column.name == "watched_item_id")


def jsonable(value: tf.Tensor):
    return (
        np.vectorize(bytes.decode, otypes=[object])(value).tolist()
        if value.dtype == tf.string
        else value.numpy().tolist()
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("hour", ["1"]), ("author", "a"), ("tags", ["a"]), ("exponents", np.float32([1.0])), ("item_id", [["a"]])],
)
def test_a_session_that_compares_no_shapes_still_refuses_a_wrong_one(saved, examples, rank_request, name, value):
    request = {**rank_request(examples[0], examples[:1]), name: value}
    model = SavedModel(Path(saved))
    feeds = {key: Tensor.from_proto(tf.make_tensor_proto(np.asarray(value))) for key, value in request.items()}
    with pytest.raises(ServingError, match=f"shape_of_{name}"):
        model.run(model.signatures["rank"], feeds, ["score"])
    model.close()


def test_behaviours_are_told_from_padding_where_ids_are_not_embedded(spec):
    unread = spec.model_copy(update={"model": spec.model.model_copy(update={"embed_ids": ()})})
    assert "watched_item_id" in input_names(unread, "predict")
    assert "watched_item_id" not in input_names(unread, "rank")
