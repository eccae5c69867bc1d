"""The served contract of a small spec, written out."""

import pytest

from schema.columns import model_columns
from schema.served import ServedTensor, outputs, predict_inputs, rank_inputs, request_columns, signatures
from schema.spec import RankingSpec


@pytest.fixture
def spec() -> RankingSpec:
    return RankingSpec.model_validate(
        {
            "name": "articles",
            "log": {
                "layout": "impressions",
                "files": "log.csv",
                "user": "user",
                "item": "item",
                "timestamp": {"column": "at", "unit": "s"},
            },
            "items": {"files": "items.csv", "key": "item"},
            "features": [
                {"name": "country", "source": "log", "kind": "categorical"},
                {"name": "hour", "source": "log", "derive": "hour_of_day"},
                {"name": "topic", "source": "items", "kind": "categorical"},
                {"name": "length", "source": "items", "kind": "numeric"},
                {"name": "tags", "source": "items", "kind": "multi"},
            ],
            "behaviours": [{"name": "liked", "column": "like", "max_length": 3}],
            "tasks": [{"name": "like", "column": "like"}, {"name": "share", "column": "share"}],
        }
    )


def by_name(tensors: tuple[ServedTensor, ...]) -> dict[str, ServedTensor]:
    return {tensor.name: tensor for tensor in tensors}


def test_predict_takes_rows_and_padded_lists(spec):
    inputs = by_name(predict_inputs(spec))
    assert inputs["country"] == ServedTensor("country", "string", (None,), "user")
    assert inputs["length"] == ServedTensor("length", "float32", (None,), "item")
    assert inputs["tags"] == ServedTensor("tags", "string", (None, None), "item", b"", "tags")
    age = ServedTensor("liked_age_s", "float32", (None, None), "user", 0.0, "liked_item_id")
    assert inputs["liked_age_s"] == age


def test_rank_takes_the_user_once_and_the_candidates_as_predict_takes_examples(spec):
    inputs, examples = by_name(rank_inputs(spec)), by_name(predict_inputs(spec))
    assert inputs["country"] == ServedTensor("country", "string", (), "user")
    assert inputs["liked_age_s"] == ServedTensor("liked_age_s", "float32", (None,), "user")
    items = {name for name, tensor in inputs.items() if tensor.side == "item"}
    assert items == {"item_id", "topic", "length", "tags"}
    assert all(inputs[name] == examples[name] for name in items)


def test_every_mask_is_a_text_of_the_same_request(spec):
    for tensors in (predict_inputs(spec), rank_inputs(spec)):
        masks = {tensor.mask for tensor in tensors} - {None}
        assert {by_name(tensors)[mask].dtype for mask in masks} == {"string"}


def test_what_a_ranker_reads_by_default_can_be_said_otherwise(spec):
    assert [tensor.name for tensor in rank_inputs(spec)] == [column.name for column in model_columns(spec)]
    everything = [column.name for column in request_columns(spec)]
    assert [tensor.name for tensor in rank_inputs(spec, everything)] == everything
    assert [tensor.name for tensor in predict_inputs(spec, ["tags", "hour", "label_like"])] == ["hour", "tags"]


def test_each_signature_answers_every_task_and_rank_the_score_and_the_order(spec):
    assert by_name(outputs(spec, "predict")).keys() == {"like", "share"}
    assert {tensor.shape for tensor in outputs(spec, "serving_default")} == {(None, 1)}
    ranked = by_name(outputs(spec, "rank"))
    assert {name: tensor.dtype for name, tensor in ranked.items()} == {
        "like": "float32",
        "share": "float32",
        "score": "float32",
        "order": "int32",
    }
    assert {tensor.shape for tensor in ranked.values()} == {(None,)}


def test_the_exponents_are_a_number_a_task(spec):
    (exponents,) = [tensor for tensor in signatures(spec)["rank"].inputs if tensor.side is None]
    assert exponents == ServedTensor("exponents", "float32", (2,))


def test_a_ranker_that_reads_nothing_of_the_candidates_has_no_rank(spec):
    model = spec.model.model_copy(update={"embed_ids": ("user_id",)})
    features = tuple(feature for feature in spec.features if feature.source != "items")
    reads_users = spec.model_copy(update={"features": features, "model": model})
    assert signatures(spec).keys() == {"serving_default", "predict", "rank"}
    assert signatures(reads_users).keys() == {"serving_default", "predict"}
