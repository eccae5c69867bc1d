"""A spec that can never be blessed says so before anything runs."""

import pytest

from schema.blessing import blessing_doubts
from schema.spec import RankingSpec

LOG = {"layout": "impressions", "files": "*", "user": "u", "item": "i", "timestamp": {"column": "t"}}
WATCH = {"name": "watch", "column": "w", "kind": "regression"}
LIKE = {"name": "like", "column": "l"}


def doubts(tasks, **more) -> list[str]:
    return list(blessing_doubts(RankingSpec.model_validate({"name": "a", "log": LOG, "tasks": tasks, **more})))


def test_regressions_that_nothing_judges_are_never_blessed():
    (doubt,) = doubts([WATCH])
    assert doubt.startswith("gates: no model will be blessed: nothing judges the tasks, which are regressions (watch)")


def test_beside_a_binary_task_a_regression_goes_unjudged():
    assert doubts([WATCH, LIKE]) == [
        "gates: nothing judges the regressions watch; expected `mse` or `max_drop` in a gate"
    ]


def test_auto_judges_by_its_reference():
    assert doubts([WATCH, LIKE], model={"routing": "auto"}) == []
    # One task has nothing to choose.
    assert doubts([WATCH], model={"routing": "auto"})


def test_a_single_task_model_has_no_reference():
    alone = {"model": {"routing": "single_task"}, "training": {"reference": True}}
    (doubt,) = doubts([WATCH], **alone)
    assert doubt.startswith("gates: no model will be blessed")
    assert "reference" not in doubt
    # A Tuner may choose one that shares.
    assert doubts([WATCH], **alone, tuning={"routing": ["ple", "single_task"]}) == []


def test_a_gain_that_nothing_can_be_compared_for_is_told():
    gates = {"gates": {"like": {"min_gain": 0.002, "if_unjudged": "block"}}}
    (doubt,) = doubts([LIKE], **gates)
    assert doubt.startswith("gates.like.min_gain: nothing has to be gained: no reference is trained")
    (doubt,) = doubts([LIKE], **gates, model={"routing": "single_task"}, training={"reference": True})
    assert doubt.startswith("gates.like.min_gain: nothing has to be gained: the model is a single-task one itself")
    assert doubts([LIKE], **gates, training={"reference": True}) == []


@pytest.mark.parametrize(
    "more",
    [{"gates": {"watch": {"mse": 1.0}}}, {"gates": {"watch": {"max_drop": 0.1}}}, {"training": {"reference": True}}],
)
def test_a_gate_or_a_reference_judges(more):
    assert doubts([WATCH], **more) == []
    assert doubts([LIKE]) == []
