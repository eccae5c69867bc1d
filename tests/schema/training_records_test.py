import json

import pytest

from schema.training_records import (
    Diagnostics,
    EpochCosines,
    EpochRecord,
    EpochWeights,
    History,
    parse_diagnostics,
    parse_history,
    to_json,
)

HISTORY = History(
    300,
    1,
    0.5,
    (EpochRecord(1, 2.0, 150.0, {"like": {"loss": 0.4, "auc": 0.7}}, {"like": {"loss": 0.5, "auc": None}}),),
)
DIAGNOSTICS = Diagnostics(
    {"level_1/task_like": [0.25, 0.75]},
    {"like": {"hour": 1.1}},
    (EpochCosines(1, {"like|share": -0.1}),),
    (EpochWeights(1, {"like": 1.0, "share": 0.5}),),
)


def test_records_are_read_as_they_were_written():
    assert parse_history(to_json(HISTORY)) == HISTORY
    assert parse_diagnostics(to_json(DIAGNOSTICS)) == DIAGNOSTICS


def test_the_files_hold_the_fields_by_name():
    assert json.loads(to_json(HISTORY)) == {
        "examples": 300,
        "best_epoch": 1,
        "best_loss": 0.5,
        "epochs": [
            {
                "epoch": 1,
                "seconds": 2.0,
                "examples_per_second": 150.0,
                "train": {"like": {"loss": 0.4, "auc": 0.7}},
                "eval": {"like": {"loss": 0.5, "auc": None}},
            }
        ],
    }
    assert json.loads(to_json(DIAGNOSTICS))["gradient_cosine"] == [{"epoch": 1, "pairs": {"like|share": -0.1}}]


def test_diagnostics_may_lack_any_key():
    assert parse_diagnostics("{}") == Diagnostics()


def test_what_is_wrong_is_told_with_its_place():
    with pytest.raises(ValueError, match=r"diagnostics.json: gate_weights.level_1/task_like: .*, got 'much'"):
        parse_diagnostics('{"gate_weights": {"level_1/task_like": "much"}}')
    with pytest.raises(ValueError, match=r"history.json: epochs.0.seconds: Field required"):
        parse_history('{"epochs": [{"epoch": 1}]}')
