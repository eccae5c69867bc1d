"""What a comparison of rankers keeps, how it shows a gain, and that calibration stands apart from these."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from benchmarks.comparison import Gain, ScoreFiles, calibration_table, compare
from benchmarks.prepared import Prepared
from schema.spec import RankingSpec
from schema.statistics import Request

LABELS = [1.0, 0.0, 0.0, 1.0]


def test_scores_are_made_once_for_the_same_settings(tmp_path):
    calls = []

    def score() -> dict[str, np.ndarray]:
        calls.append(len(calls))
        return {"ple": np.full([2, 3], len(calls), np.float32), "LightGBM + statistics": np.zeros([2, 3], np.float32)}

    for _ in range(2):
        scores = ScoreFiles(tmp_path).get("auto-1", {"seed": 1}, score)
        assert list(scores) == ["ple", "LightGBM + statistics"]
        np.testing.assert_array_equal(scores["ple"], np.ones([2, 3]))
    assert calls == [0]
    assert ScoreFiles(tmp_path).get("auto-1", {"seed": 2}, score)["ple"][0, 0] == 2
    ScoreFiles(None).get("auto-1", {"seed": 1}, score)
    assert calls == [0, 1, 2]


def test_a_gain_is_bold_where_its_interval_leaves_zero_out():
    assert str(Gain(0.0123, 0.005)) == "**+0.0123 ± 0.0050**"
    assert str(Gain(-0.0123, 0.02)) == "-0.0123 ± 0.0200"
    assert not Gain(0.0, 0.0).is_certain


@pytest.fixture
def prepared() -> Prepared:
    """Four test examples of two users, of which the last isn't in the space of the task `like`."""
    spec = RankingSpec.model_validate(
        {
            "name": "watching",
            "log": {
                "layout": "impressions",
                "files": "*.csv",
                "user": "user",
                "item": "item",
                "timestamp": {"column": "time"},
            },
            "features": [{"name": "tab", "source": "log", "kind": "categorical"}],
            "tasks": [
                {"name": "like", "column": "like"},
                {"name": "share", "column": "share"},
                {"name": "finish", "column": "finish", "kind": "regression"},
            ],
        }
    )
    examples = []
    for row, label in enumerate(LABELS):
        feature = tf.train.Example().features.feature
        feature["user_id"].bytes_list.value.append(b"ab"[row % 2 : row % 2 + 1])
        feature["timestamp"].int64_list.value.append(row)
        feature["request_start"].int64_list.value.append(0)
        for task, value, space in (("like", label, row < 3), ("share", 0.0, True), ("finish", label, True)):
            feature[f"label_{task}"].float_list.value.append(value)
            feature[f"space_{task}"].float_list.value.append(space)
        examples.append(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return Prepared(spec, FnArgs(), Path(), np.array(examples, object))


def test_lists_are_compared_where_the_log_tells_what_was_ranked_at_once(prepared):
    scores = [{name: np.zeros((3, 4), np.float32) for name in ("ple", "single_task")}]
    log = prepared.spec.log.model_copy(update={"request": Request(column="request")})
    requests = replace(prepared, spec=prepared.spec.model_copy(update={"log": log}))
    by_log = [{row.metric for row in compare(told, scores).rows} for told in (prepared, requests)]
    assert by_log == [{"auc", "mean_squared_error"}, {"auc", "mean_squared_error", "grouped_auc"}]


def test_a_metric_of_a_task_without_positives_is_null_in_json(prepared):
    scores = [{name: np.zeros((3, 4), np.float32) for name in ("ple", "single_task")}]
    of_share = compare(prepared, scores).as_json()["share auc"]
    assert of_share["values"] == {"ple": None, "single_task": None}
    assert of_share["gains"] == {"single_task": [None, None]}


def test_calibration_is_of_binary_tasks_with_a_positive_in_their_space_and_has_no_gain(prepared):
    # The means of two seeds: 0.9 and 1.5 of 1, and 1.8 and 1.2.
    by_seed = [
        {name: np.tile(np.float32(of_like), (3, 1)) for name, of_like in scores.items()}
        for scores in (
            {"ple": [0.5, 0.3, 0.1, 0.9], "JRC": [0.9, 0.5, 0.4, 0.1]},
            {"ple": [0.7, 0.5, 0.3, 0.9], "JRC": [0.7, 0.3, 0.2, 0.1]},
        )
    ]
    compared = compare(prepared, by_seed)
    (calibration,) = compared.calibrations
    assert (calibration.task, calibration.positives) == ("like", 1)
    assert calibration.values == pytest.approx({"ple": 1.2, "JRC": 1.5}, rel=1e-6)
    assert "calibration" not in {row.metric for row in compared.rows}
    assert compared.as_json()["like calibration"] == {"values": {"ple": 1.2, "JRC": 1.5}, "positives": 1}
    *_, line = calibration_table(compared.calibrations)
    assert line == "| like | 1 | 1.200 | 1.500 |"
