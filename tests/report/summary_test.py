"""The summary in the terminal, from the lineage alone: of a run that went through, and of those that stopped early."""

import dataclasses
import json
from pathlib import Path

import pytest
from made_evaluation import make_evaluation
from rich.console import Console

from evaluation.result import Check, Estimate, Evaluation, write
from report.lineage import Execution, Lineage, Used
from report.summary import RunSummary, summarize
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


def shown(evaluation: Evaluation, **changes) -> str:
    console = Console(width=200, record=True)
    render(RunSummary("shortvideo", "first", {}, evaluation=evaluation, **{"blessed": True, **changes}), console)
    return console.export_text()


def test_what_each_task_gains_or_loses_by_sharing_stands_first():
    # By hand: +0.020 ± 0.003, an MSE that is higher by 0.002 ± 0.003, and -0.004 ± 0.003.
    assert shown(make_evaluation(blessed=True)).splitlines()[:4] == [
        "Of 3 tasks against their single-task models: 1 loses, 1 equal, 1 gains.",
        "  loses:    share -0.0040 ±0.0030",
        "  equal:    completion -0.0020 ±0.0030",
        "  gains:    like +0.0200 ±0.0030",
    ]


def test_after_a_warm_start_the_gain_is_said_not_to_be_of_sharing_alone():
    lines = shown(make_evaluation(blessed=True), base_model="runs/a/model/3").splitlines()
    assert lines[4] == "  not by sharing alone: the model started from runs/a/model/3, its single-task models anew"
    both = shown(make_evaluation(blessed=True), base_model="runs/a/model/3", reference_base_model="runs/a/model/2")
    assert "by sharing alone" not in both
    without_reference = make_evaluation(models=("candidate",))
    assert "by sharing alone" not in shown(without_reference, base_model="runs/a/model/3")


def test_what_training_started_from_is_read_from_the_lineage():
    base = Used("base_model", 3, "Model", "runs/a/model/3", "Trainer", {})
    for stage, started in (("Trainer", ("runs/a/model/3", None)), ("ReferenceTrainer", (None, "runs/a/model/3"))):
        run = Lineage("a", "b", (dataclasses.replace(execution(stage), inputs=(base,)),))
        assert (summarize(run).base_model, summarize(run).reference_base_model) == started
    assert summarize(Lineage("a", "b", (execution("Trainer"),))).base_model is None


def test_where_nobody_looked_the_summary_says_so_and_which_line_of_the_spec_looks():
    alone = make_evaluation(models=("candidate",))
    first = shown(alone).splitlines()[0]
    assert first.startswith("Nobody looked whether tasks lose by sharing")
    assert "`training: {reference: true}`" in first
    (candidate,) = alone.models
    single = dataclasses.replace(alone, models=(dataclasses.replace(candidate, routing="single_task"),))
    assert shown(single).startswith("This is a single-task model: its tasks share nothing")


def test_a_gain_that_was_asked_for_and_could_not_be_looked_at_is_named():
    reason = "like: auc is compared with no single-task model"
    check = Check("like", (), "min_gain", "auc", Estimate(None), 0.002, "not compared", False, reason)
    first = Check("like", (), "max_drop", "auc", Estimate(None), 0.1, "not compared", False, "no blessed model")
    evaluation = dataclasses.replace(make_evaluation(models=("candidate",)), checks=(check, first))
    assert f"let pass: {reason}" in shown(evaluation)
    assert "no blessed model\n" not in shown(evaluation)
    assert "let pass: no blessed model" in shown(evaluation, baseline="runs/earlier")


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
    render(dataclasses.replace(summary, stop_by="loss"), console)
    text = console.export_text()
    assert "tuned: levels 2 (mean eval loss 0.5000, the least of 1 trials)" in text
    metrics = dataclasses.replace(summary, stop_by="metrics")
    console = Console(width=200, record=True)
    render(metrics, console)
    assert "tuned: levels 2 (1 - mean eval metric 0.5000, the least of 1 trials)" in console.export_text()
    assert "No verdict: the run did not reach the Evaluator. Trainer (failed)" in text
