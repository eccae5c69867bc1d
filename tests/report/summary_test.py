"""The summary in the terminal, from the lineage alone: of a run that went through, and of those that stopped early."""

import json
from pathlib import Path

import pytest
from made_evaluation import make_evaluation
from rich.console import Console

from evaluation.result import write
from report.lineage import Execution, Lineage, Used
from report.summary import summarize
from report.terminal_summary import render


def execution(stage: str, state: str = "complete", **outputs: tuple[str, dict]) -> Execution:
    used = tuple(Used(key, 1, "Artifact", uri, stage, properties) for key, (uri, properties) in outputs.items())
    return Execution(stage, state, 0.0, 1.0, (), used, {})


@pytest.fixture
def evaluated(tmp_path: Path) -> Execution:
    write(make_evaluation(blessed=True), str(tmp_path))
    blessing = {"blessed": 1, "baseline_model": "runs/earlier/model/3"}
    return execution("SeesawEvaluator", evaluation=(str(tmp_path), {}), blessing=("runs/a/blessing/7", blessing))


def test_a_run_that_went_through_has_its_verdict_and_its_places(evaluated: Execution):
    pushed = {"pushed": 1, "pushed_destination": "runs/a/serving/1"}
    run = Lineage(
        "shortvideo",
        "first",
        (
            execution("Trainer", model=("runs/a/model/5", {}), model_run=("runs/a/model_run/5", {})),
            evaluated,
            execution("ServingValidator", blessing=("runs/a/infra/8", {"blessed": 1})),
            execution("Pusher", pushed_model=("runs/a/pushed/9", pushed)),
            execution("EvaluationReport", report=("runs/a/report/10", {})),
        ),
    )
    summary = summarize(run)
    assert (summary.blessed, summary.refused, summary.baseline) == (True, "", "runs/earlier/model/3")
    assert summary.evaluation == make_evaluation(blessed=True)
    assert list(summary.places.items()) == [
        ("model", "runs/a/model/5"),
        ("TensorBoard logs", "runs/a/model_run/5"),
        ("evaluation", evaluated.outputs[0].uri),
        ("pushed model", "runs/a/serving/1"),
        ("report", "runs/a/report/10/index.html"),
    ]


def test_a_model_that_cannot_be_served_says_why_and_is_nowhere(evaluated: Execution):
    refusal = {"blessed": 0, "reason": "p99 is 700 ms"}
    not_pushed = execution("Pusher", pushed_model=("runs/a/pushed/9", {"pushed": 0}))
    run = Lineage("a", "b", (evaluated, execution("ServingValidator", blessing=("x", refusal)), not_pushed))
    summary = summarize(run)
    assert summary.refused == "p99 is 700 ms"
    assert "pushed model" not in summary.places


def test_a_run_that_failed_early_names_the_stage_that_failed(tmp_path: Path):
    (tmp_path / "tuner_results.json").write_text(json.dumps([{"trial_id": "0", "score": 0.5, "levels": 2}]))
    tuner = execution("Tuner", tuner_results=(str(tmp_path), {}))
    # The later execution of a stage is the one that counts.
    run = Lineage("a", "b", (execution("Trainer"), tuner, execution("Trainer", "failed")))
    summary = summarize(run)
    assert summary.stages == {"Trainer": "failed", "Tuner": "complete"}
    assert (summary.evaluation, summary.blessed, summary.places) == (None, None, {})
    console = Console(width=200, record=True)
    render(summary, console)
    shown = console.export_text()
    assert "tuned: levels 2 (mean eval loss 0.5000, the least of 1 trials)" in shown
    assert "No verdict: the run did not reach the Evaluator. Trainer (failed)" in shown
