import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tfx.components.trainer.fn_args_utils import FnArgs

from models.trainer import run_fn
from models.training.stopping import DivergedError
from models.tuner import RandomCombinations, tuner_fn
from schema.tuning import Tuning

TUNING = {"trials": 2, "epochs": 2, "routing": ["shared_bottom", "cgc"], "learning_rate": [0.0001, 0.05]}


@pytest.fixture(scope="module")
def lean(spec):
    """Fewer columns and one level, for time's sake."""
    model = spec.model.model_copy(update={"levels": 1, "routing": "shared_bottom"})
    training = spec.training.model_copy(update={"epochs": 2})
    return spec.model_copy(update={"features": (), "behaviours": (), "model": model, "training": training})


@pytest.fixture(scope="module")
def arguments(trainer_arguments, tmp_path_factory):
    def made(spec, tuning, **more) -> FnArgs:
        tuned = spec.model_copy(update={"tuning": tuning and Tuning(**tuning)})
        return FnArgs(**trainer_arguments(tuned, tmp_path_factory.mktemp("tuned")), **more)

    return made


def searched(fn_args: FnArgs):
    result = tuner_fn(fn_args)
    result.tuner.search(**result.fit_kwargs)
    return result.tuner


def scores(tuner) -> dict[str, float]:
    return {name: trial.score for name, trial in tuner.oracle.trials.items()}


@pytest.fixture(scope="module")
def whole(lean, arguments):
    return searched(arguments(lean, TUNING))


def test_the_best_settings_are_trained_to_the_loss_of_their_trial(whole, lean, arguments):
    best = whole.get_best_hyperparameters()[0]
    # As TFX hands them on: through a file of JSON.
    fn_args = arguments(lean, TUNING, hyperparameters=json.loads(json.dumps(best.get_config())))
    run_fn(fn_args)
    history = json.loads(Path(fn_args.model_run_dir, "history.json").read_text())
    assert history["best_loss"] == pytest.approx(min(scores(whole).values()), rel=1e-6)
    saved = json.loads(Path(fn_args.serving_model_dir, "assets.extra", "ranking_spec.json").read_text())
    assert saved["training"]["learning_rate"] == best["learning_rate"]
    assert saved["model"]["routing"] == best["routing"]
    assert "tuning" not in saved


def test_a_search_that_was_killed_goes_on_to_the_same_scores(whole, lean, arguments, monkeypatch):
    fn_args = arguments(lean, TUNING)
    killed = tuner_fn(fn_args).tuner
    run_trial = killed.run_trial

    def until_the_second(trial, **kwargs):
        if trial.trial_id == "1":
            raise KeyboardInterrupt
        return run_trial(trial, **kwargs)

    monkeypatch.setattr(killed, "run_trial", until_the_second)
    with pytest.raises(KeyboardInterrupt):
        killed.search(verbose=0)

    resumed, trained = tuner_fn(fn_args).tuner, []
    eval_loss = resumed._eval_loss
    monkeypatch.setattr(resumed, "_eval_loss", lambda trial: trained.append(trial.trial_id) or eval_loss(trial))
    resumed.search(verbose=0)
    assert trained == ["1"]
    assert scores(resumed) == pytest.approx(scores(whole), rel=1e-6)
    # Nothing is left to go on from.
    assert not any(Path(fn_args.custom_config["checkpoint_dir"]).iterdir())


def test_trials_differ_by_the_recipe_and_the_best_is_trained_by_it(lean, arguments):
    recipe = {"dropout": [0.0, 0.5], "averaging": [0.9], "clip_norm": [1.0], "schedule": ["linear"]}
    tuning = {"trials": 2, "epochs": 1, **recipe}
    tuner = searched(arguments(lean, tuning))
    assert len({round(score, 6) for score in scores(tuner).values()}) == 2
    best = tuner.get_best_hyperparameters()[0]
    fn_args = arguments(lean, tuning, hyperparameters=best.get_config())
    run_fn(fn_args)
    saved = json.loads(Path(fn_args.serving_model_dir, "assets.extra", "ranking_spec.json").read_text())["training"]
    expected = {"dropout": best["dropout"], "averaging": 0.9, "clip_norm": 1.0, "schedule": "linear"}
    assert {name: saved[name] for name in recipe} == expected


def test_a_rate_that_does_not_train_is_not_chosen(lean, arguments):
    tuner = searched(arguments(lean, {"trials": 2, "epochs": 1, "learning_rate": [1e30, 0.01]}))
    assert tuner.get_best_hyperparameters()[0]["learning_rate"] == 0.01


def test_a_search_in_which_nothing_trains_says_what_was_tried(lean, arguments):
    with pytest.raises(DivergedError, match=r"not finite in any trial, tried learning_rate 1e\+30"):
        searched(arguments(lean, {"epochs": 1, "learning_rate": [1e30]}))


def test_an_error_that_is_not_the_settings_fault_ends_the_search(lean, arguments, monkeypatch):
    tuner = tuner_fn(arguments(lean, TUNING)).tuner

    def fails(trial):
        raise OSError("no space left")

    monkeypatch.setattr(tuner, "_eval_loss", fails)
    with pytest.raises(Exception, match="no space left"):
        tuner.search(verbose=0)


def test_a_spec_without_tuning_or_with_an_unknown_routing_is_refused(lean, arguments):
    with pytest.raises(ValueError, match="expected a spec with `tuning`"):
        tuner_fn(arguments(lean, None))
    with pytest.raises(ValueError, match=r"tuning.routing\[1\]: unknown routing 'plle', expected one of"):
        tuner_fn(arguments(lean, {"routing": ["ple", "plle"]}))


@given(
    trials=st.integers(1, 30),
    rates=st.lists(st.floats(1e-4, 1), min_size=1, max_size=4, unique=True),
    experts=st.lists(st.integers(1, 9), max_size=3, unique=True),
    units=st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=2).map(tuple), max_size=3, unique=True),
    seed=st.integers(-5, 5),
)
def test_no_combination_is_tried_twice_and_all_are_where_trials_reach(trials, rates, experts, units, seed):
    tuning = Tuning(trials=trials, learning_rate=rates, shared_experts=experts, expert_units=units)

    def order():
        oracle = RandomCombinations(tuning, seed)
        return [oracle.populate_space(str(index))["values"] for index in range(oracle.max_trials)]

    tried = order()
    assert tried == order()
    assert len(tried) == min(trials, math.prod(max(1, len(candidates)) for candidates in (rates, experts, units)))
    assert len({json.dumps(values) for values in tried}) == len(tried)
    for values in tried:
        chosen = tuning.chosen(values)
        assert all(chosen[name] in tuning.candidates[name] for name in tuning.candidates)
