"""When a benchmark takes the examples that an earlier one has kept."""

import json
from pathlib import Path

import pytest
import yaml

from benchmarks.prepared import MADE_OF, made_of, prepare, with_groups
from schema.loading import load_spec
from schema.modelling import RankingLoss
from schema.stages import transform_part

SPEC = {
    "name": "shop",
    "log": {"layout": "impressions", "files": "*.csv", "user": "u", "item": "i", "timestamp": {"column": "t"}},
    "tasks": [{"name": "buy", "column": "bought"}],
}


@pytest.fixture
def kept(tmp_path) -> tuple[Path, Path, Path]:
    """A spec, logs and what tells that a run of them was finished."""
    spec, logs, output = tmp_path / "spec.yaml", tmp_path / "logs", tmp_path / "kept"
    spec.write_text(yaml.safe_dump(SPEC))
    logs.mkdir()
    (logs / "day.csv").write_text("a,b\n1,2\n")
    (output / "artifacts" / "EvaluationReport" / "report" / "9").mkdir(parents=True)
    (output / MADE_OF).write_text(json.dumps(made_of(load_spec(spec), logs)))
    return spec, logs, output


def change(spec: Path, **sections) -> None:
    spec.write_text(yaml.safe_dump({**SPEC, **sections}))


def test_examples_of_other_logs_are_refused(kept):
    _, logs, output = kept
    (logs / "day.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(SystemExit, match=f"{output}: the logs changed since its examples were made"):
        prepare(*kept)


def test_examples_by_another_spec_are_refused_and_those_of_which_nothing_is_known(kept):
    spec, _, output = kept
    change(spec, split={"by": "time", "eval": 0.2, "test": 0.1})
    with pytest.raises(SystemExit, match=f"{output}: the spec changed since its examples were made"):
        prepare(*kept)
    (output / MADE_OF).unlink()
    with pytest.raises(SystemExit, match=f"{output}: the spec and the logs changed since"):
        prepare(*kept)


def test_examples_have_groups_whether_or_not_the_spec_orders_them(kept):
    spec, _, output = kept
    declared = load_spec(with_groups(spec, output))
    ordering = load_spec(spec).with_training(ranking_loss=RankingLoss(kind="jrc"))
    assert transform_part(declared) == transform_part(ordering)
    ordered = {"kind": "jrc", "weight": 2.0, "within": "user"}
    change(spec, training={"ranking_loss": ordered, "epochs": 3})
    assert load_spec(with_groups(spec, output)).to_json() == load_spec(spec).to_json()


def test_logs_that_are_gone_are_named(kept):
    (kept[1] / "day.csv").unlink()
    with pytest.raises(SystemExit, match=r"log\.files: the pattern '\*\.csv' matches no file"):
        prepare(*kept)


def test_the_same_rows_and_another_model_take_the_same_examples(kept):
    spec, logs, _ = kept
    before = made_of(load_spec(spec), logs)
    change(spec, training={"epochs": 7}, model={"routing": "mmoe"})
    (logs / "day.csv").write_text((logs / "day.csv").read_text())
    (logs / "notes.txt").write_text("of another use")
    assert made_of(load_spec(spec), logs) == before
