import json
import xml.etree.ElementTree

import numpy as np
import pytest

from benchmarks import census, expectations, picture, seesaw
from benchmarks.run_log import RunLog

EXPECTED = {"runs": 4, "values": {"ple": {"a": {"value": 0.9, "tolerance": 0.01}}}}


def test_a_mean_below_its_value_by_more_than_the_tolerance_is_a_regression():
    assert not list(expectations.regressions({"ple": np.full((4, 1), 0.891)}, EXPECTED, ["a"]))
    (sentence,) = expectations.regressions({"ple": np.full((4, 1), 0.889)}, EXPECTED, ["a"])
    assert sentence == "ple, a: 0.8890 is more than 0.0100 below the expected 0.9000"


def test_fewer_runs_may_scatter_more():
    # One run instead of four: twice the tolerance.
    assert not list(expectations.regressions({"ple": np.array([[0.881]])}, EXPECTED, ["a"]))
    assert list(expectations.regressions({"ple": np.array([[0.879]])}, EXPECTED, ["a"]))


def test_the_interval_is_students():
    # The quantile of t with 2 degrees of freedom is 4.3027; the deviation of 1, 2, 3 is 1.
    np.testing.assert_allclose(expectations.interval(np.array([1.0, 2.0, 3.0])), 4.3027 / np.sqrt(3), rtol=1e-4)
    assert expectations.with_interval(np.array([1.0, 2.0, 3.0]), 2, sign=True) == "+2.00 ± 2.48"
    assert expectations.with_interval(np.array([0.5]), 2) == "0.50"


def test_every_configuration_that_is_expected_of_exists():
    for name in ("census", "seesaw", "routing_speed"):
        assert expectations.load(name)
    assert set(expectations.load("census")["values"]) <= set(census.ROUTINGS)
    assert set(expectations.load("seesaw")["ple_gain"]) <= set(seesaw.CORRELATIONS)


@pytest.mark.parametrize(
    ("ple", "other", "sentences"),
    [
        ([0.95, 0.995], [0.94, 0.994], 0),
        ([0.947, 0.995], [0.94, 0.994], 1),
        ([0.95, 0.995], [0.951, 0.996], 2),
    ],
)
@pytest.mark.parametrize("name", ["single_task", "torch-rechub"])
def test_ple_must_reach_its_bounds_and_not_fall_behind(name, ple, other, sentences):
    expected = {"ple_at_least": [0.948, 0.9945]}
    assert len(list(census.unmet({"ple": np.array([ple]), name: np.array([other])}, expected))) == sentences


def test_a_loss_in_the_seesaw_is_said_plainly():
    errors = {0.5: {"single_task": np.full((3, 2), 0.5), "mmoe": np.full((3, 2), 0.4), "ple": np.full((3, 2), 0.6)}}
    gains = {0.5: {name: errors[0.5]["single_task"] - errors[0.5][name] for name in ("mmoe", "ple")}}
    assert list(seesaw.report(errors, gains))[-1] == (
        "At 0.5 PLE doesn't win: mmoe gains more. At 0.5 PLE loses to single task."
    )
    assert len(list(seesaw.unmet(gains, {"ple_gain": {}}))) == 2


@pytest.mark.parametrize("correlation", [0.2, 1.0])
def test_the_correlation_is_the_cosine_of_the_tasks_weights(correlation, monkeypatch):
    for split in ("TRAIN", "VALIDATION", "TEST"):
        monkeypatch.setattr(seesaw, split, 4_000)
    # Without sines the labels are linear, and least squares gives the weights back.
    monkeypatch.setattr(seesaw, "SINES", 0)
    rows = seesaw.generate(correlation, seed=1).train
    a, b = np.linalg.lstsq(rows.columns["x"], rows.labels, rcond=None)[0].T
    np.testing.assert_allclose(a @ b / np.linalg.norm(a) / np.linalg.norm(b), correlation, atol=0.02)


def test_a_run_that_was_kept_is_not_repeated(tmp_path):
    calls = []

    def run(seed):
        calls.append(seed)
        return [seed]

    for settings in (["a"], ["a"], ["b"]):
        assert RunLog(tmp_path / "runs.jsonl").run("ple", 1, settings, run) == [1]
    assert calls == [1, 1]
    assert [json.loads(line)["name"] for line in (tmp_path / "runs.jsonl").read_text().splitlines()] == ["ple", "ple"]


def test_a_picture_has_a_dot_for_every_value_and_one_for_the_mean():
    values = {"ple": np.array([0.1, 0.2]), "mmoe < ple": np.array([0.0])}
    root = xml.etree.ElementTree.fromstring(picture.intervals({"AUC": values, "gain": values}, zero=True))
    assert len(root.findall("{*}circle")) == 2 * (3 + 2)


def test_a_benchmark_ends_with_its_figures_as_json_and_fails_where_one_falls_short(capsys):
    assert expectations.conclude({"runs": 3}, []) == 0
    assert expectations.conclude({"runs": 3}, ["too slow"]) == 1
    printed = capsys.readouterr()
    assert [json.loads(line) for line in printed.out.splitlines()] == [
        {"runs": 3, "short": []},
        {"runs": 3, "short": ["too slow"]},
    ]
    assert printed.err == "too slow\n"
