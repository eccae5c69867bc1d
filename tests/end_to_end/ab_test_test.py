"""The pushed model of the small run before simulated users, beside the oracle and a random order."""

import json

import pytest
from whole_runs import Run, fulcrum

from ingest.live_logs import LiveLogs
from pipeline.ab_test.experiment import FUSED, Totals
from pipeline.ab_test.experiment import run as run_arms
from pipeline.ab_test.policies import FusedTruth, ModelPolicy, OraclePolicy, RandomPolicy, load_pushed, loaded_rank
from schema.loading import load_spec
from simulation.online import Population, draw_requests

USERS, ROUNDS, CANDIDATES, SHOWN = 40, 2, 20, 3


@pytest.fixture(scope="module")
def totals(run: Run) -> Totals:
    spec, population = load_spec(run.spec), Population.after_logs(run.logs)
    model, trained_by = load_pushed(run.output / "serving" / "shortvideo")
    logs = LiveLogs.read(trained_by, str(run.logs))
    assert trained_by.statistics, "the arm's own feedback moves statistics"
    rounds = list(draw_requests(population.world, 1, population.hour + 1, USERS, ROUNDS, 3, CANDIDATES))
    arms = {
        "model": ModelPolicy(logs, loaded_rank(model)),
        "model again": ModelPolicy(logs, loaded_rank(model)),
        "oracle": OraclePolicy(FusedTruth(spec)),
        "random": RandomPolicy(1),
    }
    try:
        return run_arms(spec, logs, population, rounds, arms, SHOWN)
    finally:
        model.close()


def test_the_oracle_is_above_the_random_order_beyond_its_interval(totals):
    gain = totals.lifts("oracle", "random")[FUSED]
    assert gain.value - gain.half_width > 0


def test_the_model_lies_between_them_and_differs_from_itself_by_exactly_nothing(totals):
    assert totals.total("random", FUSED) < totals.total("model", FUSED) < totals.total("oracle", FUSED)
    for gain in totals.lifts("model again", "model").values():
        assert (gain.value, gain.half_width) == (0.0, 0.0)


def test_the_command_compares_any_number_of_pushed_models(run: Run, tmp_path):
    folder, out = run.output / "serving" / "shortvideo", tmp_path / "ab.json"
    (version,) = folder.iterdir()
    small = ("--users", 5, "--requests", 1, "--candidates", 6, "--shown", 2)
    done = fulcrum(
        "ab-test", run.spec, "--logs", run.logs, "--model", f"ple={folder}", "--model", f"twin={version}",
        *small, "--json", out,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "10 impressions of 5 people in each arm; total, and lift over ple" in done.out
    written = json.loads(out.read_text())
    assert written["control"] == "ple"
    assert list(written["arms"]) == ["ple", "twin", "oracle", "random"]
    assert all(outcome["lift"] == 0 for outcome in written["arms"]["twin"].values() if outcome["total"])
