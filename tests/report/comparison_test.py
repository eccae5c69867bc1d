"""What a comparison says of runs, from evaluations made by hand; a whole one is in tests/end_to_end."""

import dataclasses
import re

import pytest
from made_evaluation import SCRIPT, make_evaluation
from material_of_a_run import make_material
from rich.console import Console
from whole_runs import PROJECT

from report.comparison import ComparedRun, Comparison
from report.comparison_page import findings, page, print_tables, transfers
from schema.loading import load_spec
from schema.spec import RankingSpec


def spec_with(**model: object) -> RankingSpec:
    spec = load_spec(PROJECT / "schema" / "specs" / "shortvideo.yaml")
    return spec.model_copy(update={"model": spec.model.model_copy(update=model)})


def compared(name: str, **model: object) -> ComparedRun:
    lineage = make_material().lineage
    assert lineage is not None
    return ComparedRun(name, lineage, make_evaluation(models=("candidate",)), spec_with(**model))


@pytest.fixture
def comparison() -> Comparison:
    """Of `shared` and `ple` with intervals, and of `other`, which was tested on other examples."""
    runs = (compared("shared", routing="shared_bottom"), compared("ple"), compared("other", levels=3))
    return Comparison(runs, {"ple": make_evaluation(models=("candidate", "baseline"))})


def test_each_run_is_said_to_be_better_or_worse_only_where_the_interval_tells(comparison: Comparison):
    # By hand: +0.010 ± 0.003, -0.020 ± 0.003, and an MSE that is lower by 0.001 ± 0.003.
    assert findings(comparison) == [
        "ple against shared: better on like; worse on share; no difference told on completion.",
        "other was not tested on the same examples as shared: no difference is taken.",
    ]


def test_each_run_says_what_sharing_does_to_its_tasks(comparison: Comparison):
    shared = dataclasses.replace(comparison.first, evaluation=make_evaluation())
    nobody_looked, *_ = transfers(comparison)
    assert nobody_looked.startswith("shared: Nobody looked whether tasks lose by sharing")
    looked = dataclasses.replace(comparison, runs=(shared, *comparison.others))
    sentence, *_ = transfers(looked)
    assert sentence == (
        "shared: Of 3 tasks against their single-task models: 1 loses, 1 equal, 1 gains. "
        "loses: share; equal: completion; gains: like."
    )
    console = Console(width=200, record=True)
    print_tables(looked, console)
    assert sentence in console.export_text()
    assert sentence in page(looked)


def test_the_settings_that_differ_are_named_with_every_runs_value(comparison: Comparison):
    assert comparison.settings() == {
        "model.routing": ("shared_bottom", "ple", "ple"),
        "model.levels": ("2", "2", "3"),
    }


def test_the_terminal_shows_every_task_with_its_interval(comparison: Comparison):
    console = Console(width=200, record=True)
    print_tables(comparison, console)
    shown = console.export_text()
    assert re.search(r"like +│ AUC .*\+0\.0100 \[\+0\.0070, \+0\.0130\]", shown)
    assert re.search(r"model\.routing +│ shared_bottom", shown)


def test_the_page_has_the_seesaw_and_the_slices_and_no_markup_of_the_data(comparison: Comparison):
    shown = page(comparison)
    assert "like × share" in shown
    assert "country=BR" in shown
    assert SCRIPT not in shown
