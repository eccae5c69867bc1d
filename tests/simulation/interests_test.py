"""Tasks that follow interests of their own: what changes with `task_interests`, and what stays."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import kstest

from simulation.logs import simulate
from simulation.responses import (
    DRAWS,
    EFFECTS,
    OWN_LIFT,
    State,
    answers_of,
    draw_answers,
    expectations,
    own_behaviours,
    probabilities,
)
from simulation.traffic import Traffic
from simulation.world import CATEGORIES, RESPONSES, make_world

USERS, ITEMS, DAYS = 300, 200, 5
COMMON = {"country", "age", "device", "activity", "deviation", "taste", "category", "author", "factors", "popularity"}


def world_of(interests: float):
    return make_world(3, USERS, ITEMS, DAYS, interests)


def shown_rows(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    sizes = {"user": USERS, "item": ITEMS, "tab": 3, "network": 3}
    return {name: rng.integers(size, size=rows) for name, size in sizes.items()}


def test_the_users_and_the_items_are_the_same_at_all_task_interests():
    plain, mixed = world_of(0.0), world_of(0.5)
    for name in COMMON:
        np.testing.assert_array_equal(getattr(plain, name), getattr(mixed, name))
    assert plain.own_taste.shape == (USERS, len(CATEGORIES), 0)
    assert mixed.own_taste.shape == (USERS, len(CATEGORIES), len(RESPONSES))


@pytest.mark.parametrize("interests", [0.0, 0.3, 1.0])
def test_a_logit_is_that_of_the_equation(interests):
    world, rng, hour = world_of(interests), np.random.default_rng(2), 23
    fresh = State.fresh(world)
    state = State(*(rng.exponential(size=moods.shape) for moods in (fresh.mood, fresh.fatigue, fresh.own_mood)))
    rows = shown_rows(50)
    logits = logit(probabilities(world, state, rows, hour))
    without = logit(probabilities(dataclasses.replace(world, task_interests=0.0), fresh, rows, hour))
    user, category = rows["user"], world.category[rows["item"]]
    effect = {name: np.array(EFFECTS[name]) for name in ("taste", "mood", "fatigue")}
    t, m, n = (values[user, category][:, np.newaxis] for values in (world.taste, state.mood, state.fatigue))
    without = without - effect["taste"] * t
    own_t, own_m = world.own_taste[user, category], state.own_mood[user, category]
    if not interests:
        own_t = own_m = np.zeros((50, len(RESPONSES)))
    taste = np.sqrt(1 - interests) * t + np.sqrt(interests) * own_t
    mood = (1 - interests) * m / (1 + m) + interests * own_m / (1 + own_m)
    expected = without + effect["taste"] * taste + effect["mood"] * mood + effect["fatigue"] * n / (3 + n)
    np.testing.assert_allclose(logits, expected, atol=1e-9)


def test_a_taste_has_unit_variance_and_at_1_those_of_two_tasks_are_unrelated():
    world = make_world(3, 5_000, ITEMS, DAYS, 1.0)
    tastes = world.own_taste.reshape(-1, len(RESPONSES))
    np.testing.assert_allclose(np.cov(tastes.T), np.eye(len(RESPONSES)), atol=0.02)
    assert np.abs(np.corrcoef(world.taste.ravel(), tastes.T)[0, 1:]).max() < 0.02


@pytest.mark.parametrize(("interests", "follows"), [(0.0, {"like", "share"}), (1.0, {"like"})])
def test_a_like_lifts_all_tasks_at_0_and_at_1_its_own_alone(interests, follows):
    """Fatigue and the rest are the same: the row differs by its like only."""
    world = world_of(interests)
    rows = {name: values[:1] for name, values in shown_rows(1).items()}
    answers = {name: np.zeros(1, bool) for name in ("clicked", "share", "comment")}
    lifted = {}
    for like in (False, True):
        state = State.fresh(world)
        times = {"play_ms": np.array([0]), "duration_ms": np.array([10_000])}
        state.absorb(world, {**rows, **answers, **times, "like": np.array([like])})
        lifted[like] = probabilities(world, state, rows, 0)[0]
    moved = {name for name, change in zip(RESPONSES, lifted[True] - lifted[False], strict=True) if change > 1e-6}
    assert moved & {"like", "share"} == follows
    assert (moved == set(RESPONSES)) == (interests == 0)


def test_each_tasks_interest_shows_in_its_own_behaviour():
    """At 1, the taste of a task stands out in the categories of its own behaviour, and in no other task's."""
    world = make_world(1, 400, ITEMS, 14, 1.0)
    traffic = Traffic(world, 1, 60_000, 14)
    hours = [log for log, _ in traffic.hours()]
    log = {name: np.concatenate([hour[name] for hour in hours]) for name in hours[0]}
    taste = world.own_taste[log["user"], world.category[log["item"]]]
    behaviours, clicked = own_behaviours(log), log["clicked"]
    assert set(behaviours) == set(RESPONSES) == set(OWN_LIFT)
    # Mean of each task's taste at each task's behaviour, against all plays; the service shows by the click's.
    stands_out = np.array([taste[behaviours[name]].mean(axis=0) - taste[clicked].mean(axis=0) for name in RESPONSES])
    for name in ("like", "share", "comment"):
        r = RESPONSES.index(name)
        assert stands_out[r, r] > 0.15
        assert np.abs(np.delete(stands_out[r], r)).max() < stands_out[r, r] / 2


def test_quantiles_of_uniform_draws_answer_as_the_logs_draws_do():
    world, rows = world_of(1.0), 20_000
    shown = {name: np.repeat(values, rows) for name, values in shown_rows(1).items()}
    responses = probabilities(world, State.fresh(world), shown, 0)
    responses[:] = expit(np.array([1.0, 0.4, 0.0, -1.0, 0.5]))
    duration = np.full(rows, 20_000)
    drawn = draw_answers(np.random.default_rng(1), responses, duration)
    answered = answers_of(np.random.default_rng(2).random((rows, len(DRAWS))), responses, duration)
    assert drawn.keys() == answered.keys()
    for name in ("clicked", "like", "share", "comment"):
        assert abs(drawn[name].mean() - answered[name].mean()) < 5 * np.sqrt(0.5 / rows)
    played = [answers["play_ms"][answers["clicked"]] for answers in (drawn, answered)]
    assert kstest(*played).pvalue > 1e-3
    # And both are what the truth expects.
    completion = np.minimum(played[1] / 20_000, 1)
    assert completion.mean() == pytest.approx(expectations(responses, duration)["completion"][0], abs=0.01)


def test_a_higher_probability_never_takes_an_answer_away():
    rng = np.random.default_rng(3)
    uniforms, duration = rng.random((500, len(DRAWS))), np.full(500, 10_000)
    steps = [np.full((500, len(RESPONSES)), p) for p in (0.2, 0.5, 0.8)]
    for low, high in pairwise(answers_of(uniforms, step, duration) for step in steps):
        for name in ("clicked", "like", "share", "comment", "play_ms"):
            assert (low[name] <= high[name]).all()


@pytest.mark.parametrize("interests", [-0.1, 1.1, float("nan")])
def test_task_interests_outside_0_to_1_are_refused(tmp_path, interests):
    with pytest.raises(ValueError, match=f"task interests: expected a number from 0 to 1, got {interests}"):
        simulate(tmp_path / "out", users=10, impressions=10, seed=1, task_interests=interests)
    assert not (tmp_path / "out").exists()
