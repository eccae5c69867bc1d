"""Arms beside one another: intervals by hand, common random numbers, and the policies that need no model."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ingest.live_logs import LiveLogs
from pipeline.ab_test.experiment import FUSED, Totals, run
from pipeline.ab_test.lifts import lift
from pipeline.ab_test.policies import FusedTruth, ModelPolicy, OraclePolicy, PolicyError, RandomPolicy, load_pushed
from schema.loading import load_spec
from schema.spec import RankingSpec
from serving.requests import Inputs, Ranking
from simulation.logs import simulate
from simulation.online import Population, draw_requests
from simulation.world import TABS

SPEC = Path(__file__).parents[3] / "schema" / "specs" / "shortvideo.yaml"
SHOWN, USERS, ROUNDS = 3, 60, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    simulate(folder, users=100, impressions=2_000, seed=3, days=2)
    return folder


@pytest.fixture(scope="module")
def spec() -> RankingSpec:
    return load_spec(SPEC)


@pytest.fixture(scope="module")
def population(folder) -> Population:
    return Population.after_logs(folder)


@pytest.fixture(scope="module")
def rounds(population) -> list:
    return list(draw_requests(population.world, 1, population.hour + 1, USERS, ROUNDS, 3, 12))


@pytest.fixture(scope="module")
def totals(spec, folder, population, rounds) -> Totals:
    arms = {
        "oracle": OraclePolicy(FusedTruth(spec)),
        "random": RandomPolicy(1),
        "random again": RandomPolicy(1),
        "other order": RandomPolicy(2),
    }
    return run(spec, LiveLogs.read(spec, str(folder)), population, rounds, arms, SHOWN)


def test_the_oracle_is_above_the_random_order_beyond_its_interval(totals):
    gain = totals.lifts("oracle", "random")[FUSED]
    assert gain.value - gain.half_width > 0


def test_an_arm_differs_from_itself_by_exactly_nothing(totals):
    for itself in ("random", "random again"):
        for gain in totals.lifts(itself, "random").values():
            assert (gain.value, gain.half_width) == (0.0, 0.0)
            assert not gain.is_significant
    assert totals.lifts("other order", "random")["view_through"].value != 0


def test_each_arm_shows_as_much_and_users_give_what_the_tasks_count(totals, spec):
    assert totals.outcomes == (*(task.name for task in spec.tasks), FUSED)
    assert totals.impressions == USERS * ROUNDS * SHOWN
    for by_user in totals.by_user.values():
        assert by_user.shape == (USERS, len(totals.outcomes))
        assert (by_user[:, :-1] <= ROUNDS * SHOWN).all()
    assert 0.3 < totals.total("random", "view_through") / totals.impressions < 0.9
    assert totals.total("random", "like") < totals.total("random", "completion")


def test_the_oracle_orders_by_the_product_of_the_true_expectations(spec, population, rounds):
    requests = rounds[0]
    truth = population.expectations(requests, requests.all_places())
    value = np.prod([truth[task.name] ** task.exponent for task in spec.tasks], axis=0)
    order = OraclePolicy(FusedTruth(spec)).order(requests, population)
    sorted_values = np.take_along_axis(value, order, axis=1)
    assert (np.diff(sorted_values, axis=1) <= 1e-15).all()


def test_a_model_is_asked_with_what_its_own_arm_has_shown(spec, folder, population, rounds):
    requests: list[Inputs] = []

    def rank(inputs: Inputs) -> Ranking:
        requests.append(inputs)
        score = np.arange(len(inputs["item_id"]), dtype=np.float32)
        return Ranking({}, score, np.argsort(-score))

    policy, people = ModelPolicy(LiveLogs.read(spec, str(folder)), rank), population.copy()
    places = policy.order(rounds[0], people)
    assert (places == np.arange(12)[::-1]).all()
    log = people.answer(rounds[0], places[:, :SHOWN])
    policy.learn(log)
    policy.order(rounds[1], people)
    before, after = requests[:USERS], requests[USERS:]
    watched = log.filter(np.greater_equal(log["play_ms"].to_numpy(), 3_000)).to_pylist()
    for index in range(USERS):
        user = before[index]["user_id"].item()
        assert user == after[index]["user_id"].item() == f"u{rounds[0].user[index]}".encode()
        new = [row["video_id"].encode() for row in watched if row["user_id"].encode() == user]
        earlier = before[index]["watched_item_id"].ravel().tolist()
        assert after[index]["watched_item_id"].ravel().tolist() == (earlier + new)[-50:]
        impressions = [inputs["user_statistics"].ravel()[0] for inputs in (before[index], after[index])]
        assert impressions[1] != impressions[0]
        assert after[index]["tab"].item() == TABS[rounds[1].tab[index]].encode()


def test_labels_count_as_the_logs_own_rows_do(spec, folder):
    """What an arm has shown is typed as a file of the log is."""
    logs = LiveLogs.read(spec, str(folder))
    world = Population.after_logs(folder)
    requests = next(draw_requests(world.world, 1, world.hour + 1, 30, 1, 1, 12))
    log = world.answer(requests, requests.all_places())
    rows = logs.typed({name: log[name].combine_chunks() for name in log.column_names})
    assert rows.schema.names == logs.log.schema.names
    play, duration, clicked = (log[name].to_numpy() for name in ("play_ms", "duration_ms", "clicked"))
    np.testing.assert_array_equal(rows["label:view_through"], play >= 3_000)
    np.testing.assert_array_equal(rows["space:completion"], clicked == 1)
    inside = clicked == 1
    completion = np.minimum(play / duration, 1)
    np.testing.assert_allclose(rows["label:completion"].to_numpy()[inside], completion[inside], rtol=1e-6)


def test_a_lift_has_the_paired_interval_by_user():
    arm, control = np.array([3.0, 1.0, 4.0, 2.0]), np.array([2.0, 2.0, 1.0, 3.0])
    gain = lift(arm, control)
    ratio = 10 / 8
    influence = (arm - ratio * control) / 8
    error = np.sqrt(4 / 3 * (influence**2).sum())
    assert gain.value == pytest.approx(0.25)
    assert gain.interval.standard_error == pytest.approx(error)
    variation = (influence**4).sum() / (influence**2).sum() ** 2 - 1 / 4
    freedom = np.floor(np.clip(2 / variation, 1, 3))
    assert gain.half_width == pytest.approx(stats.t.ppf(0.975, freedom) * error)


def test_a_lift_over_nothing_is_not_a_number():
    gain = lift(np.ones(3), np.zeros(3))
    assert np.isnan([gain.value, gain.half_width]).all()
    assert not gain.is_significant


def test_intervals_cover_the_truth_in_simulations():
    rng, covered = np.random.default_rng(1), 0
    for _ in range(400):
        control = rng.poisson(rng.gamma(2.0, 2.0, size=200)).astype(float)
        arm = control + rng.binomial(2, 0.2, size=200)
        gain = lift(arm, control)
        covered += abs(gain.value - 0.4 / 4.0) <= gain.half_width
    assert 0.92 <= covered / 400 <= 0.98


def test_a_task_whose_truth_nobody_knows_is_refused_by_name(spec, population, rounds):
    renamed = spec.tasks[0].model_copy(update={"name": "stayed"})
    strange = spec.model_copy(update={"tasks": (renamed, *spec.tasks[1:])})
    with pytest.raises(PolicyError, match="task stayed: the simulator knows the truth of clicked, view_through"):
        FusedTruth(strange).check(population, rounds[0])


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(PolicyError, match="expected a pushed model"):
        load_pushed(tmp_path)
