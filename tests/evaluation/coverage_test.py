"""95 % intervals cover the truth in about 95 % of data sets, and equal models are not blocked by chance."""

import numpy as np
import pytest
from scipy.special import expit

from evaluation.gate import resolvable_half_width, verdict
from evaluation.influence import Comparison, comparisons, influence_moments, metric_values
from evaluation.metrics import metric_index
from evaluation.metrics.uncertainty import Interval, degrees_of_freedom, standard_error
from evaluation.plan import ListColumn, Plan, PlannedModel, PlannedTask
from evaluation.scored import ScoredRows, slice_views
from evaluation.totals import StackedTotals, totals

RUNS = 400
# Of which task each is: a binary one, or a regression.
METRICS = dict.fromkeys(("auc", "grouped_auc", "ndcg", "mrr", "binary_crossentropy", "calibration"), 0)
METRICS |= {"mean_squared_error": 1, "mean_absolute_error": 1}
MODELS = tuple(PlannedModel(name, "", frozenset({"like", "watched"})) for name in ("candidate", "baseline"))
PLAN = Plan(
    (PlannedTask("like", False, "", ""), PlannedTask("watched", True, "", "")),
    MODELS,
    (),
    {},
    ListColumn("request_start", 1),
)
DIFFERENCE = comparisons(PLAN).index(Comparison(0, against=1))


def simulated(
    random: np.random.Generator, users: int, by_user: float, by_row: float, equal: bool = False
) -> ScoredRows:
    """Impressions by user, few of some and many of others. Each model errs by user and by row.

    The candidate errs as much as the baseline where they are `equal`, and not at all otherwise.
    """
    user = np.repeat(np.arange(users), 1 + random.geometric(1 / 20, users))
    signal = -1.5 + 0.8 * random.standard_normal(users)[user] + random.standard_normal(len(user))
    labels = random.random(len(user)) < expit(signal)

    def erring() -> np.ndarray:
        return by_user * random.standard_normal(users)[user] + by_row * random.standard_normal(len(user))

    watched = expit(signal + 0.5 * random.standard_normal(len(user)))
    candidate = signal + erring() if equal else signal
    # Both tasks are scored alike: `watched` has its median there.
    scores = np.repeat(expit(np.stack([candidate, signal + erring()]))[:, None], 2, axis=1).astype(np.float32)
    rows = np.ones((2, len(user)), bool)
    one_list = np.zeros(len(user), np.int64)
    return ScoredRows(
        user.astype(np.uint64), one_list, np.stack([labels, watched]).astype(np.float32), rows, scores, {}
    )


def differences(rows: ScoredRows) -> dict[str, Interval]:
    (view,) = slice_views(rows, ())
    slice_totals = dict(totals(rows, view, PLAN))
    ((_, moments),) = influence_moments(rows, view, PLAN, slice_totals)
    (value,) = metric_values(StackedTotals([slice_totals[()]]), PLAN)
    errors, degrees = standard_error(moments), degrees_of_freedom(moments)
    intervals = {}
    for metric, task in METRICS.items():
        at = metric_index(metric)
        index = task, DIFFERENCE, at
        intervals[metric] = Interval(value[task, 0, at] - value[task, 1, at], errors[index], degrees[index])
    return intervals


def covers(interval: Interval, truth: float) -> bool:
    return abs(interval.value - truth) <= interval.half_width()


def test_the_interval_of_a_difference_covers_the_truth_where_impressions_are_clustered(capsys):
    random = np.random.default_rng(0)
    truth = {metric: interval.value for metric, interval in differences(simulated(random, 60_000, 0.7, 0.3)).items()}
    covered = dict.fromkeys(METRICS, 0)
    # As if each row were a user of its own; NDCG and the like would mean something else then.
    row_wise = dict.fromkeys(set(METRICS) - {"grouped_auc", "ndcg", "mrr"}, 0)
    for _ in range(RUNS):
        rows = simulated(random, 150, 0.7, 0.3)
        by_user = differences(rows)
        alone = differences(
            ScoredRows(np.arange(len(rows), dtype=np.uint64), rows.lists, rows.labels, rows.in_space, rows.scores, {})
        )
        for metric in METRICS:
            covered[metric] += covers(by_user[metric], truth[metric])
        for metric in row_wise:
            row_wise[metric] += covers(alone[metric], truth[metric])
    with capsys.disabled():
        for metric in METRICS:
            beside = f", {row_wise[metric] / RUNS:.1%} row-wise" if metric in row_wise else ""
            print(
                f"\n95 % interval of a difference in {metric}: covers in {covered[metric] / RUNS:.1%}{beside}", end=""
            )
    for metric, count in covered.items():
        assert 0.92 <= count / RUNS <= 0.98, metric
    assert row_wise["auc"] / RUNS < 0.92


def test_fewer_than_a_tenth_of_equal_models_fail_and_worse_ones_do():
    """Two seeds: models that err as much, and differently. `max_drop` is what some 100 users can resolve."""
    random = np.random.default_rng(1)
    verdicts, worse = [], []
    for _ in range(RUNS):
        interval = differences(simulated(random, 100, 0.2, 0.2, equal=True))["auc"]
        max_drop = 0.03
        assert interval.half_width() < resolvable_half_width(interval, max_drop, 1)
        verdicts.append(verdict(interval, max_drop, 1))
        worse.append(
            verdict(
                Interval(interval.value - 2 * max_drop, interval.standard_error, interval.degrees_of_freedom),
                max_drop,
                1,
            )
        )
    assert verdicts.count("fails") < 0.1 * RUNS
    assert verdicts.count("unjudged") == 0
    assert worse.count("fails") > 0.95 * RUNS


@pytest.mark.parametrize("checks", [1, 5, 100])
@pytest.mark.parametrize("wide", [0.25, 0.999, 1.5, 4.0])
def test_over_all_checks_fewer_than_a_tenth_of_equal_models_fail(checks, wide):
    """`wide`: the standard error, as a share of what `max_drop` can be resolved with."""
    random = np.random.default_rng(2)
    max_drop, degrees = 0.01, 60.0
    t = Interval(0.0, 1.0, degrees).half_width()
    error = wide * resolvable_half_width(Interval(0.0, 1.0, degrees), max_drop, checks) / t
    verdicts = [
        [
            verdict(Interval(value, error * spread, degrees), max_drop, checks)
            for value, spread in zip(
                random.normal(0, error, checks), np.sqrt(random.chisquare(degrees, checks) / degrees), strict=True
            )
        ]
        for _ in range(400 if checks < 100 else 60)
    ]
    assert sum("fails" in of_run for of_run in verdicts) / len(verdicts) < 0.1
    if wide > 1.2:
        assert any("unjudged" in of_run for of_run in verdicts)


def test_where_the_data_cannot_resolve_it_a_change_is_unjudged_and_not_worse():
    assert verdict(Interval(-0.01, 0.02, 100.0), 0.005, 1) == "unjudged"
    assert verdict(Interval(0.06, 0.02, 100.0), 0.005, 1) == "holds"
    assert verdict(Interval(-0.08, 0.02, 100.0), 0.005, 1) == "fails"
    # A drop that is certain to be one, but not to be more than is allowed.
    assert verdict(Interval(-0.005, 0.001, 100.0), 0.005, 1) == "fails"


@pytest.mark.parametrize("max_drop", [0.0, 0.01])
def test_blessed_only_if_the_lower_end_is_not_below(max_drop):
    for value in np.linspace(-0.05, 0.05, 21):
        for error in (1e-9, 0.001, 0.01, 0.1):
            interval = Interval(value, error, 50.0)
            holds = verdict(interval, max_drop, 3) == "holds"
            assert holds == (value - interval.half_width() >= -max_drop)
