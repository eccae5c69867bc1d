"""The compiled pipeline, executed by kfp's local orchestration, against the same window under LocalDagRunner."""

import json
from datetime import date
from pathlib import Path

import pytest
from evaluations import metrics
from kubeflow_local import run_compiled
from whole_runs import WINDOW, Run, fulcrum, rows_by_day

from ingest.findings import read_summary
from ingest.windows.rolling import plan
from ingest.windows.window import Window
from pipeline.cli.compile_arguments import prepare
from pipeline.runners.kubeflow import compile_pipeline
from report.summary import load_summary
from schema.loading import load_spec

IMAGE = "registry.example.com/fulcrum:1.0"
# Other values than those of the run, which gives its own.
DEFAULTS = {"routing": "shared_bottom", "epochs": 9}


@pytest.fixture(scope="module")
def compiled(run: Run, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    defaults = [argument for name, value in DEFAULTS.items() for argument in (f"--{name}", value)]
    done = fulcrum("compile", run.spec, "--image", IMAGE, "--root", "gs://bucket/runs", "--out", path, *defaults)
    assert done.code == 0, done.err
    assert "have defaults: beam_args, compare_with, epochs, routing, start_from, state, window" in done.out
    return path


def outputs_of(tasks: dict[str, Path], name: str) -> Path:
    """The folder of the task that has an output of that name."""
    (task,) = [folder for folder in tasks.values() if (folder / name).exists()]
    return task / name


def test_another_process_compiles_it_to_the_same_bytes(run: Run, compiled: Path):
    assert compile_pipeline(**vars(prepare(run.spec, IMAGE, "gs://bucket/runs", **DEFAULTS))) == compiled.read_text()


def test_it_runs_from_logs_to_a_pushed_model_with_the_metrics_of_a_local_run(run: Run, compiled: Path, tmp_path):
    serving, log, baseline = tmp_path / "serving", tmp_path / "log.txt", run.output / "serving" / "shortvideo"
    state = tmp_path / "state"
    tasks = run_compiled(
        compiled,
        root=tmp_path / "runs",
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
    (version,) = serving.iterdir()
    assert (version / "saved_model.pb").is_file()
    assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()

    local = load_summary(run.output)
    assert epochs(outputs_of(tasks, "model_run")) == epochs(Path(local.places["TensorBoard logs"]))
    ours, theirs = metrics(outputs_of(tasks, "evaluation"), "candidate"), metrics(local.places["evaluation"])
    assert {key: ours[key] for key in theirs} == pytest.approx(theirs, abs=1e-6)
    assert str(baseline) in log.read_text()

    # The window's days and no others are examples, byte for byte those of the local run.
    ingested = read_summary(str(outputs_of(tasks, "quarantine")))
    assert ingested["window"]["examples"] == rows_by_day(run.logs)
    assert content(outputs_of(tasks, "examples")) == content(Path(local.places["examples"]))
    # So is what it leaves behind, and the next day's run takes it up instead of the first day's logs.
    assert content(state) == content(run.output / "state")
    rolling, files = plan(load_spec(run.spec), str(run.logs), str(state), Window.parse("2d:2026-01-04"))
    assert rolling.earlier.day == date(2026, 1, 3)
    read = {str(file.day) for file in files if file.source == "log"}
    assert read == {"2026-01-03", "2026-01-04"}


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def epochs(model_run: Path) -> list[dict]:
    """What training measured after each epoch, without the time it took."""
    history = json.loads((model_run / "history.json").read_text())
    return [{split: epoch[split] for split in ("train", "eval")} for epoch in history["epochs"]]
