"""What an ablation changes, and how it tells what that was worth."""

import pytest

from benchmarks.ablation import (
    AS_SHIPPED,
    JRC,
    PAIRWISE,
    VARIANTS,
    shortfalls,
    table,
    with_groups,
    without_ranking_loss,
)
from benchmarks.comparison import Calibration, Compared, Gain, Row
from benchmarks.data_sets import SPECS, Logs
from schema.loading import load_spec
from schema.spec import RankingSpec
from schema.stages import transform_part


@pytest.fixture(scope="module")
def spec():
    return load_spec(SPECS / "shortvideo.yaml").with_training(routing="ple")


def row(task: str, metric: str, gain: Gain, positives: int = 1_000) -> Row:
    return Row(task, metric, {AS_SHIPPED: 0.75, "DIN": 0.74}, {"DIN": gain}, positives)


def test_every_variant_changes_the_spec_but_the_first(spec):
    changed = {name: VARIANTS[name](spec).to_json() for name in VARIANTS}
    assert changed.pop(AS_SHIPPED) == spec.to_json()
    assert len({spec.to_json(), *changed.values()}) == len(VARIANTS)
    for text in changed.values():
        RankingSpec.from_json(text)


def test_a_variant_changes_what_it_names_alone(spec):
    assert VARIANTS["DTRN"](spec).model == spec.model.model_copy(update={"bottom": "dtrn"})
    assert VARIANTS["no statistics"](spec).training == spec.training
    assert VARIANTS["no recipe"](spec).model == spec.model
    assert VARIANTS["JRC"](spec).training.ranking_loss.kind == "jrc"


def test_examples_know_the_groups_that_a_ranking_loss_orders_and_nothing_else_changes(tmp_path):
    logs = Logs("short", SPECS / "shortvideo.yaml", tmp_path / "logs")
    grouped = with_groups(logs, tmp_path / "kept")
    declared = load_spec(grouped.spec)
    assert (grouped.name, grouped.folder) == (logs.name, logs.folder)
    assert transform_part(declared) == transform_part(VARIANTS[JRC](declared))
    assert without_ranking_loss(declared).to_json() == load_spec(logs.spec).to_json()


def test_a_change_is_shown_as_what_the_variant_gains():
    *_, line = table("kuairand", [row("click", "auc", Gain(0.01, 0.002))])
    assert line == "| click | auc | 0.7500 | **-0.0100 ± 0.0020** |"


@pytest.mark.parametrize(
    ("changed", "sentences"),
    [
        (row("click", "auc", Gain(-0.01, 0.002)), ["kuairand, click: auc is better with DIN: **+0.0100 ± 0.0020**"]),
        (row("click", "auc", Gain(-0.01, 0.02)), []),
        (row("click", "auc", Gain(0.01, 0.002)), []),
        (row("click", "auc", Gain(-0.01, 0.002), positives=20), []),
        (row("click", "grouped_auc", Gain(-0.01, 0.002)), []),
    ],
)
def test_it_falls_short_where_a_variant_is_better_beyond_its_interval(changed, sentences):
    assert list(shortfalls("kuairand", Compared([changed], []))) == sentences


@pytest.mark.parametrize(
    ("values", "positives", "sentences"),
    [
        ({PAIRWISE: 1.008, JRC: 0.972}, 1_000, []),
        ({PAIRWISE: 1.02}, 1_000, ["kuairand, click: calibration moves by +3.0% with pairwise loss, allowed are 2%"]),
        ({JRC: 0.96}, 1_000, ["kuairand, click: calibration moves by -3.0% with JRC, allowed are 2%"]),
        ({JRC: 0.96}, 20, []),
        # Other variants are free to.
        ({"DIN": 0.8}, 1_000, []),
    ],
)
def test_it_falls_short_where_a_ranking_loss_moves_the_calibration_of_a_dense_task(values, positives, sentences):
    calibration = Calibration("click", {AS_SHIPPED: 0.99, **values}, positives)
    assert list(shortfalls("kuairand", Compared([], [calibration]))) == sentences
