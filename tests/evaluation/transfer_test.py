"""Negative transfer: which gain is a gain, and which loss costs the blessing, with values worked out by hand."""

import dataclasses
import json

import numpy as np
import pytest
from made_evaluation import make_evaluation

from evaluation.gate import Comparand, checks, reaches
from evaluation.influence import Comparison, comparisons
from evaluation.metrics import METRICS, metric_index
from evaluation.metrics.uncertainty import Interval
from evaluation.outcome import SliceOutcome
from evaluation.plan import PlannedModel, make_plan
from evaluation.result import Counts, Estimate, SliceResult, from_json, to_json, transfer
from evaluation.tfma_output import validation
from evaluation.totals import COUNTS
from schema.spec import Gate, RankingSpec

SPEC = RankingSpec.model_validate(
    {
        "name": "videos",
        "log": {"layout": "impressions", "files": "*", "user": "u", "item": "i", "timestamp": {"column": "t"}},
        "tasks": [
            {"name": "like", "column": "liked"},
            {"name": "finish", "ratio": {"numerator": "played", "denominator": "length"}},
        ],
    }
)
TASKS = frozenset({"like", "finish"})
# Student's 97.5 % quantile of 10 degrees of freedom is 2.228.
DEGREES, ERROR, HALF = 10.0, 0.005, 0.01114


def result(low: float | None, high: float | None, metric: str = "auc", users: int = 10) -> SliceResult:
    """A task of which `users` users have a positive, and as many a negative, and a difference from the reference."""
    counts = Counts(100, users) if metric == "mean_squared_error" else Counts(100, 50, 40, users, users, users)
    value = None if low is None or high is None else (low + high) / 2
    return SliceResult("like", (), counts, {}, {metric: {"reference": Estimate(value, low, high)}})


@pytest.mark.parametrize(
    ("low", "high", "of_auc", "of_error"),
    [
        (0.001, 0.003, "gains", "loses"),
        (-0.003, -0.001, "loses", "gains"),
        (-0.001, 0.003, "equal", "equal"),
        (0.0, 0.002, "equal", "equal"),
        (-0.002, 0.0, "equal", "equal"),
    ],
)
def test_a_task_gains_or_loses_where_its_whole_interval_leaves_zero_out(low, high, of_auc, of_error):
    assert transfer(result(low, high), "auc") == of_auc
    # Of an error less is better.
    assert transfer(result(low, high, "mean_squared_error"), "mean_squared_error") == of_error


def test_a_task_with_too_few_users_is_unjudged_and_one_without_a_reference_has_no_verdict():
    assert transfer(result(-0.003, -0.001, users=9), "auc") == "unjudged"
    assert transfer(result(-0.003, -0.001, "mean_squared_error", users=9), "mean_squared_error") == "unjudged"
    assert transfer(result(None, None), "auc") == "unjudged"
    assert transfer(result(0.001, 0.003), "grouped_auc") is None
    # The same model twice differs by nothing, however few the users are.
    assert transfer(result(0.0, 0.0, users=2), "auc") == "equal"


def judged(difference: float, gate: Gate | None = None, users: int = 10, task: str = "like", reference: bool = True):
    """Returns the checks against the reference of one task, whose metric differs from the reference's by so much."""
    names = ("candidate", "reference") if reference else ("candidate",)
    spec = SPEC.model_copy(update={"gates": {task: gate} if gate else {}})
    plan = make_plan(spec, tuple(PlannedModel(name, "", TASKS) for name in names))
    pairs = comparisons(plan)
    values = np.full((2, len(pairs), len(METRICS)), 0.6)
    index = pairs.index(Comparison(0, against=1)) if reference else None
    if index is not None:
        values[:, index, :] = 0.0
        values[:, index, metric_index("auc" if task == "like" else "mean_squared_error")] = difference
    errors = np.full(values.shape, 0.0 if difference == 0 else ERROR)
    outcome = SliceOutcome((), np.full((2, len(COUNTS)), users), values, errors, np.full(values.shape, DEGREES))
    results = checks(spec, plan, [outcome], Comparand(None, {}), Comparand(index, {}))
    return [check for check in results if check.task == task and check.kind in ("max_loss", "min_gain")]


@pytest.mark.parametrize(
    ("task", "sign"), [("like", 1.0), ("finish", -1.0)], ids=["more is better", "of an error, less"]
)
def test_a_model_fails_where_its_whole_interval_lies_below_what_it_may_lose(task, sign):
    def verdicts(gain: float, max_loss: float | None) -> list[tuple[str, bool]]:
        gate = None if max_loss is None else Gate(max_loss=max_loss)
        return [(check.verdict, check.blocks) for check in judged(sign * gain, gate, task=task)]

    # By hand: the upper end is -0.02 + 0.01114 = -0.00886.
    assert verdicts(-0.02, None) == verdicts(-0.02, 0.0) == verdicts(-0.02, 0.0088) == [("fails", True)]
    assert verdicts(-0.02, 0.0089) == [("holds", False)]
    # -0.011 + 0.01114 lies above 0: the loss is not beyond its interval.
    assert verdicts(-0.011, None) == [("holds", False)]
    assert verdicts(0.02, None) == [("holds", False)]


@pytest.mark.parametrize(("task", "sign"), [("like", 1.0), ("finish", -1.0)])
def test_a_gain_that_is_asked_for_has_to_be_shown_by_the_lower_end(task, sign):
    def verdict(gain: float, min_gain: float) -> tuple[str, bool]:
        max_loss, shown = judged(sign * gain, Gate(min_gain=min_gain), task=task)
        assert (max_loss.kind, max_loss.bound) == ("max_loss", 0.0)
        return shown.verdict, shown.blocks

    # By hand: the lower end is 0.02 - 0.01114 = 0.00886.
    assert verdict(0.02, 0.0088) == ("holds", False)
    assert verdict(0.02, 0.0089) == ("fails", True)
    assert verdict(0.01, 0.0) == ("fails", True)


def test_the_reasons_say_the_gain_its_interval_and_what_is_allowed():
    (loss,) = judged(0.02, task="finish")
    assert loss.estimate == Estimate(
        -0.02, pytest.approx(-0.02 - HALF, abs=1e-5), pytest.approx(-0.02 + HALF, abs=1e-5)
    )
    assert loss.reason == (
        "finish: the gain in mean_squared_error over the single-task model is -0.0200 [-0.0311, -0.0089], "
        "a loss beyond its interval"
    )
    (allowed,) = judged(-0.02, Gate(max_loss=0.01))
    assert allowed.reason == (
        "like: the gain in auc over the single-task model is -0.0200 [-0.0311, -0.0089], "
        "no loss beyond its interval and the allowed 0.0100"
    )
    _, small = judged(0.02, Gate(min_gain=0.01))
    assert small.reason.endswith("is +0.0200 [+0.0089, +0.0311], its lower end is below the gate's +0.0100")
    (same,) = judged(0.0, task="finish", users=3)
    assert (same.verdict, "is +0.0000 [+0.0000, +0.0000]," in same.reason) == ("holds", True)


def test_too_few_users_pass_unjudged_unless_the_spec_says_otherwise():
    (check,) = judged(-0.02, users=9)
    assert (check.verdict, check.blocks) == ("unjudged", False)
    assert check.reason == (
        "like: auc can't be judged against the single-task model: 9 users with a positive and 9 with a negative, "
        "expected at least 10 of each"
    )
    (strict,) = judged(-0.02, Gate(if_unjudged="block"), users=9)
    assert (strict.verdict, strict.blocks) == ("unjudged", True)


def test_without_a_reference_only_what_the_spec_declares_is_named_as_not_compared():
    assert judged(-0.02, reference=False) == []
    for gate in (Gate(max_loss=0.0), Gate(min_gain=0.002)):
        (check,) = judged(-0.02, gate, reference=False)
        assert (check.verdict, check.blocks) == ("not compared", False)
        assert check.reason.endswith("none was trained; `training: {reference: true}` trains one")


def test_of_tasks_that_gain_nothing_one_in_forty_fails():
    random = np.random.default_rng(0)
    degrees, runs = 60.0, 4_000
    values = random.normal(0, 0.01, runs)
    errors = 0.01 * np.sqrt(random.chisquare(degrees, runs) / degrees)
    gains = [Interval(value, error, degrees) for value, error in zip(values, errors, strict=True)]
    # Three standard errors of the rate are 0.0074.
    assert sum(not reaches(gain, "max_loss", 0.0) for gain in gains) / runs == pytest.approx(0.025, abs=0.0074)
    assert sum(reaches(gain, "min_gain", 0.0) for gain in gains) / runs == pytest.approx(0.025, abs=0.0074)


def test_tfma_is_told_of_a_loss_as_a_bound_on_the_gain():
    evaluation = make_evaluation()
    failed = [*judged(0.02, Gate(max_loss=0.001), task="finish"), judged(0.02, Gate(min_gain=0.01))[1]]
    result = validation(dataclasses.replace(evaluation, checks=tuple(failed)))
    (by_slice,) = result.metric_validations_per_slice
    loss, gain = by_slice.failures
    assert (loss.metric_key.name, loss.metric_key.is_diff) == ("mean_squared_error_gain", False)
    assert loss.metric_value.double_value.value == pytest.approx(-0.02)
    assert loss.metric_threshold.value_threshold.lower_bound.value == pytest.approx(-0.001)
    assert (gain.metric_key.name, gain.metric_threshold.value_threshold.lower_bound.value) == ("auc_gain", 0.01)


def test_an_evaluation_of_an_earlier_version_is_read_and_judged():
    written = json.loads(to_json(make_evaluation()))
    for model in written["models"]:
        del model["routing"]
    read = from_json(json.dumps(written))
    assert read == make_evaluation()
    assert read.models[0].routing is None
    verdicts = {task.name: transfer(read.result(task.name), task.metric) for task in read.tasks}
    # By hand: +0.020 ± 0.003, -0.004 ± 0.003, and an MSE that is higher by 0.002 ± 0.003.
    assert verdicts == {"like": "gains", "share": "loses", "completion": "equal"}
