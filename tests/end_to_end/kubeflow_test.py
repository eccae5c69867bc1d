"""The compiled pipeline, executed by kfp's local orchestration, against the same window under LocalDagRunner."""

from datetime import date
from pathlib import Path

import pytest
from evaluations import epochs, metrics
from whole_runs import KubeflowRun, Run, Simulated, rows_by_day

from ingest.findings import read_summary
from ingest.windows.rolling import plan
from ingest.windows.window import Window
from pipeline.cli.compile_arguments import prepare
from pipeline.runners.kubeflow import compile_pipeline
from report.summary import load_summary
from schema.loading import load_spec

# The first to ask waits for two whole runs.
pytestmark = pytest.mark.timeout(1_800)


def test_another_process_compiles_it_to_the_same_bytes(simulated: Simulated, compiled: Path):
    prepared = prepare(simulated.spec, KubeflowRun.IMAGE, KubeflowRun.ROOT, **KubeflowRun.DEFAULTS)
    assert compile_pipeline(**vars(prepared)) == compiled.read_text()


def test_it_runs_from_logs_to_a_pushed_model_with_the_metrics_of_a_local_run(run: Run, kubeflow_run: KubeflowRun):
    (version,) = kubeflow_run.serving.iterdir()
    assert (version / "saved_model.pb").is_file()
    assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()

    local = load_summary(run.output)
    ours = metrics(kubeflow_run.outputs("evaluation"), "candidate")
    theirs = metrics(local.places["evaluation"])
    assert {key: ours[key] for key in theirs} == pytest.approx(theirs, abs=1e-6)
    trained, locally = epochs(kubeflow_run.outputs("model_run")), epochs(Path(local.places["TensorBoard logs"]))
    assert trained.keys() == locally.keys()
    assert trained == pytest.approx(locally, abs=1e-6)
    assert str(kubeflow_run.baseline) in kubeflow_run.log


def test_its_examples_are_the_windows_and_byte_for_byte_those_of_a_local_run(run: Run, kubeflow_run: KubeflowRun):
    ingested = read_summary(str(kubeflow_run.outputs("quarantine")))
    assert ingested["window"]["examples"] == rows_by_day(run.logs)
    local = Path(load_summary(run.output).places["examples"])
    assert content(kubeflow_run.outputs("examples")) == content(local)


def test_the_next_days_run_takes_up_what_it_leaves_behind(run: Run, kubeflow_run: KubeflowRun):
    assert content(kubeflow_run.state) == content(run.output / "state")
    rolling, files = plan(load_spec(run.spec), str(run.logs), str(kubeflow_run.state), Window.parse("2d:2026-01-04"))
    assert rolling.earlier.day == date(2026, 1, 3)
    read = {str(file.day) for file in files if file.source == "log"}
    assert read == {"2026-01-03", "2026-01-04"}


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
