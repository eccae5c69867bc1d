"""Users who come back: what a policy can't change, and what it can."""

import json

import numpy as np
import pyarrow as pa
import pytest

from simulation.logs import simulate
from simulation.online import Population, PopulationError, Requests, draw_requests
from simulation.responses import DRAWS, probabilities
from simulation.traffic import Traffic
from simulation.world import make_world

USERS, ITEMS, DAYS, IMPRESSIONS, SEED = 40, 60, 2, 1_000, 9


@pytest.fixture(scope="module", params=[0.0, 0.7])
def population(request, tmp_path_factory) -> Population:
    folder = tmp_path_factory.mktemp("online")
    sizes = {"users": USERS, "items": ITEMS, "impressions": IMPRESSIONS, "days": DAYS}
    simulate(folder, seed=SEED, task_interests=request.param, **sizes)
    return Population.after_logs(folder)


def rounds_of(population: Population, rounds: int = 3, hours: int = 2) -> list[Requests]:
    return list(draw_requests(population.world, 1, population.hour + 1, 10, rounds, hours, 8))


def first(requests: Requests, shown: int) -> np.ndarray:
    return requests.all_places()[:, :shown]


def test_the_users_are_as_the_logs_left_them(population):
    world = make_world(SEED, USERS, ITEMS, DAYS, population.world.task_interests)
    traffic = Traffic(world, SEED, IMPRESSIONS, DAYS)
    assert sum(len(log["user"]) for log, _ in traffic.hours()) == IMPRESSIONS
    assert population.hour == 48
    for name in ("mood", "fatigue", "own_mood"):
        np.testing.assert_array_equal(getattr(population.state, name), getattr(traffic.state, name))
    assert population.state.mood.any()


def test_each_candidate_of_a_request_is_another_one_and_each_user_asks_once(population):
    for requests in rounds_of(population):
        assert all(len(set(items)) == 8 for items in requests.candidates.tolist())
        assert len(set(requests.user.tolist())) == 10
        assert requests.uniforms.shape == (10, 8, len(DRAWS))


def test_an_answer_hangs_on_the_candidate_and_not_on_its_place(population):
    requests = rounds_of(population)[0]
    places = first(requests, 4)
    forwards, backwards = (population.copy().answer(requests, order) for order in (places, places[:, ::-1]))
    columns = ["user_id", "video_id", "clicked", "play_ms", "like", "share", "comment", "network", "tab"]
    tables = [
        table.select(columns).sort_by([("user_id", "ascending"), ("video_id", "ascending")])
        for table in (forwards, backwards)
    ]
    assert tables[0] == tables[1]


def test_what_is_shown_acts_on_the_arm_that_showed_it_alone(population):
    """An hour's feedback fades and acts as in the logs: from the next hour on."""
    first_round, second_round = rounds_of(population, 2)
    active, idle = population.copy(), population.copy()
    log = active.answer(first_round, first(first_round, 8))
    assert pa.compute.sum(log["clicked"]).as_py() > 0
    assert (population.state.fatigue == idle.state.fatigue).all()
    places = first(second_round, 8)
    tired, fresh = (people.expectations(second_round, places) for people in (active, idle))
    assert (tired["clicked"] != fresh["clicked"]).any()
    # By hand: fatigue before the second round, two hours after the first, of what was played in the first.
    expected = population.state.fatigue * np.exp(-3 / 8)
    clicked = log["clicked"].to_numpy().reshape(10, 8)
    for row, user in enumerate(first_round.user):
        for column in np.flatnonzero(clicked[row]):
            expected[user, population.world.category[first_round.candidates[row, column]]] += np.exp(-1 / 8)
    state = active.state.copy()
    state.fade(second_round.hour - active.hour)
    np.testing.assert_allclose(state.fatigue, expected)
    rows = second_round.rows(places)
    np.testing.assert_allclose(
        tired["clicked"].ravel(), probabilities(population.world, state, rows, second_round.hour)[:, 0]
    )


def test_answers_are_logged_in_the_logs_columns_a_little_after_the_request(population):
    requests = rounds_of(population)[0]
    log = population.copy().answer(requests, first(requests, 3))
    times = log["timestamp"].to_numpy().reshape(10, 3) - requests.time_ms
    assert (times == [1_000, 21_000, 41_000]).all()
    logged = np.array(log["network"].to_pylist(), object).reshape(10, 3)
    assert ((logged[:, 0] == None) == (requests.logged_network < 0)).all()  # noqa: E711 (elementwise)


def test_what_is_no_simulated_log_is_refused(tmp_path):
    with pytest.raises(PopulationError, match="expected logs that `fulcrum simulate` has written"):
        Population.after_logs(tmp_path)
    (tmp_path / "parameters.json").write_text(json.dumps({"arguments": {"users": 3}}))
    with pytest.raises(PopulationError, match="expected logs"):
        Population.after_logs(tmp_path)


@pytest.mark.parametrize(("name", "sizes"), [("users", (USERS + 1, 8)), ("candidates", (10, ITEMS + 1))])
def test_more_users_or_candidates_than_there_are_is_refused_by_name(population, name, sizes):
    with pytest.raises(PopulationError, match=f"{name}: expected 1 to"):
        list(draw_requests(population.world, 1, 49, sizes[0], 1, 1, sizes[1]))
