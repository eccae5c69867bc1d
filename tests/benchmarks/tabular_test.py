"""What the benchmark against trees expects of the ranker."""

import re
from pathlib import Path

import pytest

from benchmarks import expectations
from benchmarks.comparison import Compared, Gain, Row
from benchmarks.data_sets import IMPRESSIONS, USERS, Logs
from benchmarks.interests import SHORTVIDEO
from benchmarks.tabular import TREES, arguments, chosen_logs, judged, shortfalls
from schema.loading import load_spec
from schema.modelling import AUTO_ROUTING, SINGLE_TASK


def row(task: str, over_trees: Gain, metric: str = "auc", over_single_task: Gain | None = None, positives: int = 1_000):
    gains = {TREES: over_trees} | ({SINGLE_TASK: over_single_task} if over_single_task else {})
    return Row(task, metric, {}, gains, positives)


AHEAD = row("like", Gain(0.01, 0.002))


@pytest.mark.parametrize(
    ("rows", "sentences"),
    [
        ([AHEAD, row("finish", Gain(0.001, 0.002), "mean_squared_error")], []),
        ([AHEAD, row("click", Gain(0, 0.002))], ["kuairand, click: auc gains +0.0000 over {}, expected more than 0"]),
        (
            [AHEAD, row("finish", Gain(-0.001, 0.002), "mean_squared_error")],
            ["kuairand, finish: mean_squared_error gains -0.0010 over {}, expected more than 0"],
        ),
        (
            [row("click", Gain(0.001, 0.0005)), row("like", Gain(0.002, 0.0005))],
            ["kuairand: the dense tasks' AUC gains +0.0015 over {} in the mean, expected 0.002"],
        ),
        # Few positives, and lists, are judged by their intervals alone.
        ([AHEAD, row("comment", Gain(-0.03, 0.05), positives=20)], []),
        ([AHEAD, row("click", Gain(-0.01, 0.02), "grouped_auc")], []),
    ],
)
def test_on_the_named_logs_every_dense_task_gains_over_trees_and_their_mean_by_as_much_as_expected(rows, sentences):
    assert list(shortfalls("kuairand", Compared(rows, []))) == [sentence.format(TREES) for sentence in sentences]
    assert not list(shortfalls("deskdrop", Compared(rows, [])))


@pytest.mark.parametrize("metric", ["auc", "mean_squared_error", "grouped_auc"])
@pytest.mark.parametrize("positives", [20, 1_000])
def test_on_all_logs_no_task_may_be_behind_trees_or_single_task_beyond_its_interval(metric, positives):
    behind, level = Gain(-0.004, 0.003), Gain(-0.004, 0.005)
    rows = [row("click", behind, metric, level, positives), row("like", level, metric, behind, positives)]
    assert list(shortfalls("deskdrop", Compared(rows, []))) == [
        f"deskdrop, click: {metric} is 0.0040 behind {TREES}, beyond its interval",
        f"deskdrop, like: {metric} is 0.0040 behind {SINGLE_TASK}, beyond its interval",
    ]


def test_the_logs_that_gains_are_expected_on_are_those_of_the_default_sizes():
    assert expectations.load("tabular")["ahead_on"] == [f"simulated_{USERS}_{IMPRESSIONS}", "kuairand"]


def parsed(monkeypatch, *options: str):
    monkeypatch.setattr("sys.argv", ["tabular", *options])
    return arguments()


def test_logs_of_the_users_are_judged_by_what_their_spec_says(monkeypatch, tmp_path):
    options = parsed(monkeypatch, "--spec", "my.yaml", "--logs", "days")
    assert list(chosen_logs(options, tmp_path)) == [Logs("my", Path("my.yaml"), Path("days"))]
    mmoe = load_spec(SHORTVIDEO).with_training(routing="mmoe")
    assert judged(mmoe, options) == mmoe
    assert judged(mmoe, parsed(monkeypatch)).model.routing == AUTO_ROUTING
    assert judged(mmoe, parsed(monkeypatch, "--routing", "cgc")).model.routing == "cgc"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--spec", "my.yaml"], "--spec and --logs go together"),
        (["--data", "kuairand,movies"], "--data: expected some of simulated, .*, got movies"),
    ],
)
def test_wrong_options_are_refused(monkeypatch, capsys, options, message):
    with pytest.raises(SystemExit):
        parsed(monkeypatch, *options)
    assert re.search(message, capsys.readouterr().err)
