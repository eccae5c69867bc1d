"""What `fulcrum ab-test` refuses, and what it prints without a model."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app
from simulation.logs import simulate

SPEC = Path(__file__).parents[3] / "schema" / "specs" / "shortvideo.yaml"


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    simulate(folder, users=60, impressions=600, seed=3, days=2)
    return folder


def ab_test(logs: Path, *options: object) -> tuple[int, str]:
    """Returns its exit code, and what it printed on one line."""
    result = CliRunner().invoke(app, ["ab-test", str(SPEC), "--logs", str(logs), *map(str, options)])
    assert "Traceback" not in result.output
    return result.exit_code, " ".join(result.output.split())


def test_without_a_model_the_oracle_is_compared_with_the_random_order(logs, tmp_path):
    sizes = ("--users", 20, "--requests", 2, "--candidates", 6, "--shown", 2)
    code, printed = ab_test(logs, *sizes, "--json", tmp_path / "ab.json")
    assert code == 0
    assert "80 impressions of 20 people in each arm; total, and lift over random" in printed
    written = json.loads((tmp_path / "ab.json").read_text())
    assert list(written["arms"]) == ["oracle", "random"]
    fused = written["arms"]["oracle"]["fused"]
    assert fused["lift"] == pytest.approx(fused["total"] / written["arms"]["random"]["fused"]["total"] - 1)
    assert written["arms"]["random"]["fused"]["lift"] == 0


def test_a_lift_over_a_total_of_0_is_null_and_the_table_says_that_there_is_none(logs, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    # Of two impressions nobody comments on any.
    sizes = ("--users", 2, "--requests", 1, "--candidates", 2, "--shown", 1)
    code, printed = ab_test(logs, *sizes, "--json", tmp_path / "ab.json")
    assert code == 0
    assert "no lift over 0" in printed
    assert "nan" not in printed
    written = json.loads((tmp_path / "ab.json").read_text(), parse_constant=pytest.fail)
    assert written["arms"]["random"]["comment"]["total"] == 0
    comment = written["arms"]["oracle"]["comment"]
    assert (comment["lift"], comment["half_width"]) == (None, None)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--model", "ple"), "--model ple: expected NAME=DIR"),
        (("--model", "oracle=somewhere"), "there is an arm oracle already"),
        (("--model", "a=x", "--model", "a=y"), "there is an arm a already"),
        (("--control", "best"), "--control best: expected one of oracle, random"),
        (("--shown", 51), "--shown 51: expected at most the 50 candidates"),
        (("--users", 61), "users: expected 1 to 60, as many as the logs have, got 61"),
        (("--users", 9, "--model", "ple=/nowhere"), "/nowhere: expected a pushed model"),
    ],
)
def test_what_can_not_be_is_refused_with_its_reason(logs, options, reason):
    code, printed = ab_test(logs, *options)
    assert code == 2
    assert reason in printed


def test_logs_that_nobody_has_simulated_are_refused(tmp_path):
    code, printed = ab_test(tmp_path)
    assert code == 2
    assert "expected logs that `fulcrum simulate` has written" in printed
