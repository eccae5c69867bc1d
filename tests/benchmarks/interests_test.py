"""How two bottoms are compared: metrics by scikit-learn, intervals by hand, and what counts as short."""

import argparse

import numpy as np
import pytest
from sklearn.metrics import mean_squared_error, roc_auc_score

from benchmarks.interests import BEHAVIOURS, Gain, gain_of, interval, report, shortfalls, write_spec
from evaluation.plan import PlannedModel, make_plan
from evaluation.scored import ScoredRows
from schema.loading import load_spec
from simulation.responses import STAYED_MS

ROWS, USERS = 400, 40


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    options = argparse.Namespace(statistics=False, epochs=2)
    return load_spec(write_spec(tmp_path_factory.mktemp("spec") / "spec.yaml", options))


@pytest.fixture(scope="module")
def plan(spec):
    names = frozenset(task.name for task in spec.tasks)
    return make_plan(spec, tuple(PlannedModel(name, "", names) for name in ("candidate", "baseline")))


def scored(plan, seed: int) -> ScoredRows:
    rng = np.random.default_rng(seed)
    tasks = len(plan.tasks)
    labels = rng.integers(2, size=(tasks, ROWS)).astype(np.float32)
    labels[1] = rng.random(ROWS)
    scores = np.clip(labels * 0.2 + rng.random((2, tasks, ROWS)) * 0.8, 0, 1).astype(np.float32)
    return ScoredRows(
        users=rng.integers(USERS, size=ROWS).astype(np.uint64),
        lists=np.zeros(ROWS, np.int64),
        labels=labels,
        in_space=rng.random((tasks, ROWS)) < 0.8,
        scores=scores,
        slices={},
    )


def test_the_spec_has_each_tasks_own_behaviour_and_no_statistics_unless_asked_for(spec, tmp_path):
    assert [behaviour.name for behaviour in spec.behaviours] == ["watched", "stayed", "liked", "shared", "commented"]
    assert BEHAVIOURS[1]["at_least"] == STAYED_MS
    assert spec.statistics is None
    assert spec.training.epochs == 2
    with_statistics = write_spec(tmp_path / "spec.yaml", argparse.Namespace(statistics=True, epochs=None))
    assert load_spec(with_statistics).statistics is not None


def test_the_gain_is_that_of_auc_and_of_r2_and_of_their_mean(plan):
    rows = scored(plan, 1)
    gain = gain_of(rows, plan)
    for t in range(len(plan.tasks)):
        inside = rows.in_space[t]
        labels = rows.labels[t][inside]
        for m in range(2):
            scores = rows.scores[m, t][inside]
            expected = (
                1 - mean_squared_error(labels, scores) / labels.var() if t == 1 else roc_auc_score(labels, scores)
            )
            assert gain.metrics[m, t] == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(gain.metrics[:, -1], gain.metrics[:, :-1].mean(axis=1))
    assert Gain.from_json(gain.to_json()).gain.tolist() == gain.gain.tolist()


def test_the_interval_of_the_mean_of_tasks_is_by_user_and_paired(plan):
    """The influence of a user is the derivative by the user's weight: by leaving each one out in turn."""
    rows = scored(plan, 2)
    gain = gain_of(rows, plan)
    left_out = []
    for user in np.unique(rows.users):
        keep = rows.users != user
        columns = {name: getattr(rows, name)[..., keep] for name in ("users", "lists", "labels", "in_space", "scores")}
        left_out.append(gain_of(ScoredRows(**columns, slices={}), plan).gain[-1])
    count = len(left_out)
    jackknife = np.sqrt((count - 1) / count * ((np.array(left_out) - np.mean(left_out)) ** 2).sum())
    assert interval([gain], -1).standard_error == pytest.approx(jackknife, rel=0.1)


def test_a_bottom_against_itself_gains_nothing(plan):
    rows = scored(plan, 3)
    same = ScoredRows(**{**vars(rows), "scores": rows.scores[[0, 0]]})
    gain = gain_of(same, plan)
    assert (gain.gain == 0).all()
    assert interval([gain, gain], -1).half_width() == 0


def test_seeds_of_different_users_narrow_the_interval_by_their_number(plan):
    gain = gain_of(scored(plan, 4), plan)
    alone, four = interval([gain], -1), interval([gain] * 4, -1)
    assert four.value == pytest.approx(alone.value)
    assert four.standard_error == pytest.approx(alone.standard_error / 2, rel=0.02)


def constant(gain: float, error: float) -> Gain:
    """100 users, each with the same influence but for its sign."""
    metrics = np.array([[0.7 + gain], [0.7]])
    return Gain(metrics, 100, np.array([error**2]), np.array([error**4 / 100]))


@pytest.mark.parametrize(
    ("interests", "gain", "error", "is_short"),
    [
        (0.0, 0.0, 0.001, False),
        (0.0, -0.0005, 0.0001, False),
        (0.0, -0.004, 0.001, True),
        (0.0, -0.004, 0.004, False),
        (0.5, -0.1, 0.001, False),
        (1.0, 0.004, 0.001, False),
        (1.0, 0.004, 0.004, True),
        (1.0, -0.004, 0.001, True),
    ],
)
def test_it_must_not_be_behind_at_0_and_has_to_win_at_1(interests, gain, error, is_short):
    sentences = list(shortfalls({interests: [constant(gain, error)]}, "dtrn"))
    assert bool(sentences) == is_short
    assert all(f"dtrn at interests {interests:g}: a gain of {gain:+.4f}" in sentence for sentence in sentences)


def test_a_gain_is_bold_where_its_interval_leaves_out_zero():
    lines = list(report({1.0: [constant(0.004, 0.001)]}, [], ("dtrn", "plain")))
    assert "**+0.0040 ± 0.0020**" in lines[-1]
    (line,) = list(report({1.0: [constant(0.001, 0.001)]}, [], ("dtrn", "plain")))[-1:]
    assert "**" not in line
