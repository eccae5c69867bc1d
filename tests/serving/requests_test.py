"""Requests are what the contract says, whichever form they come in."""

import math

import numpy as np
import pytest
from videos_spec import SPEC

from components.serving_validator.sample_requests import cold_row
from schema.served import request_columns
from schema.spec import RankingSpec
from serving.requests import (
    ExponentError,
    Ranking,
    UnknownTaskError,
    columns_of_rows,
    combine,
    examples_request,
    exponents,
    predict_request,
    rank_request,
    read_rows,
    write_record,
)

ALL = {"user_id", "item_id", "country", "price", "tags", "clicked_item_id", "clicked_age_s"}


@pytest.fixture
def spec() -> RankingSpec:
    return SPEC


@pytest.fixture
def three(spec):
    """Three rows with nought to two tags and behaviours."""
    return [
        {
            "timestamp": 0,
            "country": b"BR",
            "battery": float("nan"),
            "user_id": f"u{n}".encode(),
            "item_id": f"v{n}".encode(),
            "price": n / 2,
            "tags": [b"a", b"b"][:n],
            "cover": [float(n), 0.5],
            "clicked_item_id": [b"x", b"y"][:n],
            "clicked_age_s": [1.0, 2.0][:n],
            "clicked_price": [0.5, 0.5][:n],
            "clicked_cover": [1.0, 2.0, 3.0, 4.0][: 2 * n],
        }
        for n in range(3)
    ]


def test_a_record_reads_back_as_its_row(spec, three):
    assert [read_rows(spec, [write_record(spec, row)])[0]["tags"] for row in three] == [[], [b"a"], [b"a", b"b"]]
    (row,) = read_rows(spec, [write_record(spec, three[2])])
    # What is missing is NaN, which is equal to nothing.
    assert {**row, "battery": 0} == {**three[2], "battery": 0}
    assert np.isnan(row["battery"])


def test_an_example_without_a_required_value_is_refused_by_name(spec):
    with pytest.raises(ValueError, match="example 0: 'user_id' holds 0 values, expected one"):
        read_rows(spec, [b""])


def test_predict_takes_single_values_in_rows_and_pads_the_ragged(spec, three):
    inputs = predict_request(spec, columns_of_rows(spec, three), ALL)
    assert inputs.keys() == ALL
    assert inputs["user_id"].tolist() == [b"u0", b"u1", b"u2"]
    assert inputs["price"].dtype == np.float32
    assert inputs["tags"].tolist() == [[b"", b""], [b"a", b""], [b"a", b"b"]]
    assert inputs["clicked_age_s"].tolist() == [[0, 0], [1, 0], [1, 2]]


def test_rank_takes_the_user_once_and_each_candidate(spec, three):
    inputs = rank_request(spec, three[1], columns_of_rows(spec, [three[2], three[0]]), names=ALL)
    assert inputs.keys() == ALL
    assert inputs["user_id"].shape == ()
    assert inputs["user_id"].item() == b"u1"
    assert inputs["clicked_item_id"].tolist() == [b"x"]
    assert inputs["item_id"].tolist() == [b"v2", b"v0"]
    assert inputs["price"].tolist() == [1.0, 0.0]
    assert inputs["tags"].tolist() == [[b"a", b"b"], [b"", b""]]


def test_by_default_a_request_holds_what_the_contract_names(spec, three):
    columns = columns_of_rows(spec, three)
    expected = {column.name for column in request_columns(spec)} - {"timestamp"}
    assert predict_request(spec, columns).keys() == rank_request(spec, three[0], columns).keys() == expected


def test_examples_are_sent_as_they_are():
    assert examples_request([b"one", b"two"])["examples"].tolist() == [b"one", b"two"]


def test_exponents_are_sent_only_when_given(spec, three):
    columns = columns_of_rows(spec, three)
    assert "exponents" not in rank_request(spec, three[0], columns)
    assert rank_request(spec, three[0], columns, [1, 2])["exponents"].dtype == np.float32


def test_exponents_stand_in_the_tasks_order_and_default_to_the_specs(spec):
    assert exponents(spec, {}).tolist() == [1.0, 2.0]
    assert exponents(spec, {"view": 0.5}).tolist() == [0.5, 2.0]
    with pytest.raises(UnknownTaskError, match="no task 'views', expected one of view, click"):
        exponents(spec, {"views": 1.0})


def test_an_exponent_that_the_score_cannot_have_is_refused_before_anyone_is_asked(spec):
    with pytest.raises(ExponentError, match="exponent of view: got nan, expected a finite number"):
        exponents(spec, {"view": math.nan})
    signed = spec.tasks[0].model_copy(update={"kind": "regression", "at_least": None, "exponent": 0.0})
    of_signed = spec.model_copy(update={"tasks": (signed, *spec.tasks[1:])})
    with pytest.raises(ExponentError, match="exponent of view: got 2, expected 0: its output may be negative"):
        exponents(of_signed, {"view": 2.0})
    assert exponents(of_signed, {"view": 0.0}).tolist() == [0.0, 2.0]


def test_an_answer_is_read_as_the_tasks_the_score_and_the_order():
    half = np.array([0.5], np.float32)
    ranking = Ranking.of({"view": half, "score": half, "order": np.array([0], np.int32)})
    assert (ranking.tasks, ranking.order.dtype) == ({"view": half}, np.int64)
    with pytest.raises(ValueError, match="the answer of `rank` has no order, score"):
        Ranking.of({"view": half})


def test_no_candidates_are_empty_columns_and_an_empty_past_an_empty_list(spec, three):
    inputs = rank_request(spec, three[0], columns_of_rows(spec, []), names=ALL)
    assert inputs["item_id"].shape == (0,)
    assert inputs["tags"].shape == (0, 0)
    assert inputs["clicked_item_id"].shape == (0,)
    assert inputs["clicked_item_id"].dtype == object
    assert inputs["price"].dtype == np.float32


def test_vectors_are_rows_of_their_size_and_a_behaviours_one_list(spec, three):
    for row in three:
        (again,) = read_rows(spec, [write_record(spec, row)])
        assert [again[name] for name in ("cover", "clicked_cover")] == [row["cover"], row["clicked_cover"]]
    inputs = predict_request(spec, columns_of_rows(spec, three))
    assert inputs["cover"].tolist() == [[0, 0.5], [1, 0.5], [2, 0.5]]
    assert inputs["clicked_cover"].tolist() == [[0, 0, 0, 0], [1, 2, 0, 0], [1, 2, 3, 4]]
    inputs = rank_request(spec, three[0], columns_of_rows(spec, []))
    assert (inputs["cover"].shape, inputs["clicked_cover"].shape) == ((0, 2), (0,))
    cold = cold_row(spec)
    np.testing.assert_equal((cold["cover"], cold["clicked_cover"]), ([np.nan] * 2, []))


def test_a_pair_has_the_users_columns_of_one_and_the_items_of_the_other(spec, three):
    pair = combine(spec, three[1], three[2])
    assert pair.keys() == {column.name for column in request_columns(spec)}
    assert (pair["user_id"], pair["clicked_item_id"]) == (b"u1", [b"x"])
    assert (pair["item_id"], pair["price"], pair["tags"]) == (b"v2", 1.0, [b"a", b"b"])
