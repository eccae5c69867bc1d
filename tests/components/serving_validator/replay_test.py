"""Replays against a ranker of a few lines of numpy, sound or broken in one way."""

from collections.abc import Callable

import numpy as np
import pytest

from components.serving_validator.latency import measure
from components.serving_validator.replay import replay
from components.serving_validator.sample_requests import SampleRequests
from schema.served import request_columns
from serving.requests import read_rows

TASKS = ("view", "click")


class NumpyRanker:
    """p_view = 1 / (1 + price · (1 + number of clicks)), p_click = p_view / 2; exponents 1 and 2."""

    def __init__(self, spec, breaks: Callable[[str, dict, dict], None] = lambda signature, inputs, outputs: None):
        self.spec = spec
        self.breaks = breaks

    def __call__(self, signature, inputs):
        if signature == "serving_default":
            rows = read_rows(self.spec, inputs["examples"].tolist())
            prices = np.array([row["price"] for row in rows])
            clicks = np.array([len(row["clicked_item_id"]) for row in rows])
        else:
            prices = inputs["price"]
            clicks = (inputs["clicked_item_id"] != b"").sum(axis=-1)
        view = 1 / (1 + np.nan_to_num(prices) * (1 + clicks))
        outputs = {"view": view, "click": view / 2}
        if signature == "rank":
            first, second = inputs.get("exponents", np.array([1.0, 2.0]))
            outputs["score"] = outputs["view"] ** first * outputs["click"] ** second
            outputs["order"] = np.argsort(-outputs["score"], kind="stable")
        else:
            outputs = {task: values[:, None] for task, values in outputs.items()}
        self.breaks(signature, inputs, outputs)
        return outputs


@pytest.fixture
def requests(spec, records) -> SampleRequests:
    names = [column.name for column in request_columns(spec)]
    return SampleRequests(
        spec, records, {"serving_default": ["examples"], "predict": names, "rank": [*names, "exponents"]}
    )


def test_nothing_is_found_of_a_sound_ranker(spec, requests):
    assert list(replay(requests, NumpyRanker(spec))) == []


def ignores_the_exponents(signature, inputs, outputs):
    if signature == "rank":
        outputs["score"] = outputs["view"] * outputs["click"] ** 2
        outputs["order"] = np.argsort(-outputs["score"], kind="stable")


def predicts_otherwise(signature, inputs, outputs):
    if signature == "predict":
        outputs["click"] = outputs["click"] + 1e-4


def fails_alone(signature, inputs, outputs):
    if signature == "serving_default" and len(inputs["examples"]) == 1:
        outputs["view"] = outputs["view"] * 0.9


def squeezes_one_candidate(signature, inputs, outputs):
    if signature == "rank" and len(inputs["item_id"]) == 1:
        outputs["view"] = outputs["view"].reshape(())


def is_lost_without_a_known_user(signature, inputs, outputs):
    if signature == "rank" and inputs["user_id"].item() == b"__unknown__":
        outputs["view"] = outputs["view"] * np.nan


@pytest.mark.parametrize(
    ("broken", "where", "what"),
    [
        (ignores_the_exponents, "'rank' with exponents", "score"),
        (predicts_otherwise, "'predict'", "click"),
        (fails_alone, "'serving_default' of one example", "view"),
        (squeezes_one_candidate, "'rank' of one candidate", "shape"),
        (is_lost_without_a_known_user, "'rank' of an unknown user", "finite"),
    ],
)
def test_a_ranker_that_is_broken_in_one_way_is_found_out(spec, requests, broken, where, what):
    findings = list(replay(requests, NumpyRanker(spec, broken)))
    assert findings
    assert findings[0].startswith(where)
    assert what in findings[0]


def test_no_examples_are_refused(spec):
    with pytest.raises(ValueError, match="at least one example, got none"):
        SampleRequests(spec, [], {})


def test_calls_are_made_in_turn_warm_ones_first():
    calls = []
    latency = measure([lambda: calls.append("a"), lambda: calls.append("b")], count=3, warm=2)
    assert calls == ["a", "b", "a", "b", "a"]
    assert latency.requests == 3
    assert 0 <= latency.p50_ms <= latency.p99_ms


def test_a_slow_model_is_measured_once_at_least():
    calls = []
    assert measure([lambda: calls.append(1)], patience_seconds=0.0).requests == 1
    assert len(calls) == 2
