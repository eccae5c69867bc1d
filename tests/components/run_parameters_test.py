"""The declaration of a run's parameters: defaults, checks, and the texts that follow from one."""

from pathlib import Path

import pytest

from components.run_parameters import COMPILE, RUN, Parameter, check_options, parameter, settings_in
from components.trainer import with_run_settings
from schema.loading import load_spec
from schema.tuning import Tuning

SPEC = load_spec(Path(__file__).parents[2] / "schema" / "specs" / "shortvideo.yaml")


def test_a_default_is_the_specs_or_below_the_root_or_as_declared():
    defaults = {name: parameter(name).default_for(SPEC, "gs://bucket/runs/") for name in ("epochs", "state", "window")}
    assert defaults == {"epochs": 0, "state": "gs://bucket/runs/state", "window": ""}
    assert parameter("logs").default_for(SPEC, "gs://bucket/runs") is None


def test_only_a_parameter_that_may_be_empty_is_taken_empty():
    check_options({"compare_with": "", "window": "", "state": None})
    for name in ("logs", "push_destination"):
        with pytest.raises(ValueError, match=f"--{name.replace('_', '-')}: expected an absolute path .*; got ''"):
            check_options({name: ""})


def test_a_number_below_its_minimum_is_refused_with_both():
    with pytest.raises(ValueError, match="--batch-size: expected at least 1, got 0"):
        check_options({"batch_size": 0})


def test_a_parameter_that_there_is_not_is_no_option():
    with pytest.raises(KeyError, match="epoch"):
        check_options({"epoch": 3})


def test_a_flag_that_is_off_leaves_the_spec_as_it_is():
    assert settings_in({"reference": False, "epochs": 0, "logs": "logs"}) == {"epochs": 0}
    assert settings_in({"reference": True}) == {"reference": True}


def test_the_help_of_compile_follows_from_the_declaration():
    declared = Parameter("judge", str, "Who decides.", default="", model="judge")
    assert declared.help_for(RUN) == "Who decides."
    assert declared.help_for(COMPILE) == "The default of `judge`, a model."


def test_a_routing_that_a_run_is_given_is_not_tuned_but_the_specs_is():
    tuned = SPEC.model_copy(update={"tuning": Tuning(routing=("ple", "mmoe"), learning_rate=(0.01,))})
    assert with_run_settings(tuned, {"routing": "ple", "epochs": 0}) == tuned
    changed = with_run_settings(tuned, {"routing": "cgc", "epochs": 9})
    assert (changed.model.routing, changed.training.epochs) == ("cgc", 9)
    assert changed.tuning.candidates == {"learning_rate": (0.01,)}


def test_a_setting_that_the_spec_has_not_is_refused():
    with pytest.raises(TypeError, match="expected fields of `model` and `training`, got epoch"):
        SPEC.with_training(epoch=3)
