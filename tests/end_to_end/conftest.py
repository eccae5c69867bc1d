"""One small run of the whole pipeline, a window of daily logs, shared by every test that only reads it."""

import pytest
from whole_runs import DESKDROP, KUAIRAND, PROJECT, WINDOW, Run, fulcrum, write_spec


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    # The newest impressions are of the evening, which is a drift.
    drift = {"action": "warn", "limits": {"hour": 0.2}}
    logs, output, spec = folder / "logs", folder / "output", write_spec(folder / "spec.yaml", drift=drift)
    made = fulcrum(
        "simulate", "--out", logs, "--users", 200, "--impressions", 12_000, "--days", 4, "--daily", "--seed", 7
    )
    assert made.code == 0, made.err
    finished = fulcrum("run", spec, "--logs", logs, "--window", WINDOW, "--output", output)
    assert finished.code == 0, finished.out + finished.err
    return Run(spec, logs, output, finished)


@pytest.fixture(scope="session")
def deskdrop_run(tmp_path_factory) -> Run:
    if not DESKDROP.exists():
        pytest.skip(
            "a real log of events: Deskdrop isn't there; put its users_interactions.zip "
            "(https://www.kaggle.com/datasets/gspmoreira/articles-sharing-reading-from-cit-deskdrop) "
            f"into ../{DESKDROP.relative_to(PROJECT.parent)}"
        )
    spec, output = PROJECT / "schema" / "specs" / "deskdrop.yaml", tmp_path_factory.mktemp("deskdrop")
    finished = fulcrum("run", spec, "--logs", DESKDROP, "--output", output, "--epochs", 1)
    assert finished.code == 0, finished.out + finished.err
    return Run(spec, DESKDROP, output, finished)


@pytest.fixture(scope="session")
def kuairand_run(tmp_path_factory) -> Run:
    """The real log that ships with the tests, by the shipped spec; its gates are for the whole log."""
    spec, output = PROJECT / "schema" / "specs" / "kuairand.yaml", tmp_path_factory.mktemp("kuairand")
    finished = fulcrum("run", spec, "--logs", KUAIRAND, "--output", output, "--epochs", 2, "--routing", "shared_bottom")
    assert finished.code == 0, finished.out + finished.err
    return Run(spec, KUAIRAND, output, finished)
