"""The runs of the whole pipeline that end-to-end tests read: each is made once, and most tests only look at it."""

from pathlib import Path

import pytest
from kubeflow_local import run_compiled
from whole_runs import (
    DESKDROP,
    KUAIRAND,
    PROJECT,
    WINDOW,
    KubeflowRun,
    Run,
    Simulated,
    fulcrum,
    write_spec,
)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory) -> Simulated:
    """Four days of simulated logs, and the spec of small runs on them."""
    folder = tmp_path_factory.mktemp("simulated")
    # The newest impressions are of the evening, which is a drift.
    drift = {"action": "warn", "limits": {"hour": 0.2}}
    logs, spec = folder / "logs", write_spec(folder / "spec.yaml", drift=drift)
    finished = fulcrum(
        "simulate", "--out", logs, "--users", 200, "--impressions", 12_000, "--days", 4, "--daily", "--seed", 7
    )
    assert finished.code == 0, finished.err
    return Simulated(spec, logs)


@pytest.fixture(scope="session")
def run(simulated: Simulated, tmp_path_factory) -> Run:
    """A window of daily logs under LocalDagRunner."""
    output = tmp_path_factory.mktemp("run") / "output"
    finished = fulcrum("run", simulated.spec, "--logs", simulated.logs, "--window", WINDOW, "--output", output)
    assert finished.code == 0, finished.out + finished.err
    return Run(simulated.spec, simulated.logs, output, finished)


@pytest.fixture(scope="session")
def compiled(simulated: Simulated, tmp_path_factory) -> Path:
    """The pipeline for Kubeflow, with other defaults than the runs' arguments."""
    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    defaults = [argument for name, value in KubeflowRun.DEFAULTS.items() for argument in (f"--{name}", value)]
    done = fulcrum(
        "compile", simulated.spec, "--image", KubeflowRun.IMAGE, "--root", KubeflowRun.ROOT, "--out", path, *defaults
    )
    assert done.code == 0, done.err
    assert (
        "have defaults: beam_args, compare_with, epochs, routing, start_from, start_reference_from, state, window"
        in done.out
    )
    return path


@pytest.fixture(scope="session")
def kubeflow_run(run: Run, compiled: Path, tmp_path_factory) -> KubeflowRun:
    """The compiled pipeline on the same window, by kfp's local orchestration; compared with the local run's model."""
    folder = tmp_path_factory.mktemp("kubeflow")
    serving, state, log = folder / "serving", folder / "state", folder / "log.txt"
    baseline = run.output / "serving" / "shortvideo"
    tasks = run_compiled(
        compiled,
        root=folder / "runs",
        log=log,
        arguments={
            "logs": str(run.logs),
            "window": WINDOW,
            "state": str(state),
            "push_destination": str(serving),
            "routing": "ple",
            "epochs": 3,
            "compare_with": str(baseline),
        },
    )
    return KubeflowRun(tasks, serving, state, baseline, log.read_text())


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
    """The real log that ships with the tests, by the shipped spec and so by `auto`; its gates are for the whole log."""
    spec, output = PROJECT / "schema" / "specs" / "kuairand.yaml", tmp_path_factory.mktemp("kuairand")
    finished = fulcrum("run", spec, "--logs", KUAIRAND, "--output", output, "--epochs", 2)
    assert finished.code == 0, finished.out + finished.err
    return Run(spec, KUAIRAND, output, finished)
