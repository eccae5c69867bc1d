"""What an ablation changes, and how it tells what that was worth."""

import pytest

from benchmarks.ablation import AS_SHIPPED, CROSS_ENTROPY, JRC, PAIRWISE, VARIANTS, shortfalls, table
from benchmarks.comparison import Calibration, Compared, Gain, Row
from benchmarks.data_sets import SPECS
from schema.loading import load_spec
from schema.modelling import RankingLoss
from schema.spec import RankingSpec


@pytest.fixture(scope="module")
def spec():
    """A spec with a ranking loss, of another weight than the default."""
    ranking_loss = RankingLoss(kind="pairwise", weight=5)
    return load_spec(SPECS / "shortvideo.yaml").with_training(routing="ple", ranking_loss=ranking_loss)


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
    assert VARIANTS[JRC](spec).training.ranking_loss.kind == "jrc"
    assert VARIANTS[CROSS_ENTROPY](spec).training == spec.training.model_copy(update={"ranking_loss": None})


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
        # Where PLE ships with one itself.
        ({CROSS_ENTROPY: 0.99, PAIRWISE: 0.98}, 1_000, []),
        ({CROSS_ENTROPY: 0.96}, 1_000, ["kuairand, click: calibration moves by +3.1% with as shipped, allowed are 2%"]),
        # Other variants are free to.
        ({"DIN": 0.8}, 1_000, []),
    ],
)
def test_it_falls_short_where_a_ranking_loss_moves_the_calibration_of_a_dense_task(values, positives, sentences):
    calibration = Calibration("click", {AS_SHIPPED: 0.99, **values}, positives)
    assert list(shortfalls("kuairand", Compared([], [calibration]))) == sentences
