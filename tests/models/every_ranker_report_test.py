"""Each routing, on each bottom and with each balancing, goes through training, evaluation and the report.

What a report says of sharing comes from the trainer's records, and the rest from the scores: both are made of every
ranker here, of a step that is not compiled. One whole training goes through its files and a SavedModel.
"""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from evaluation import result
from evaluation.conclusion import Subject, conclusion
from evaluation.evaluate import Model, evaluate_models
from evaluation.influence import influence_moments
from evaluation.outcome import slice_outcome
from evaluation.plan import PlannedModel, make_plan
from evaluation.result import Evaluation
from evaluation.scored import ScoredRows, slice_views
from evaluation.totals import totals
from models.bottom import BOTTOMS
from models.ranker import Ranker
from models.routing import ROUTINGS
from models.sharing import ChosenNetworks, choose_networks, with_choices
from models.trainer import run_fn
from models.training.diagnostics import MeanWeights, diagnose, weight_sums
from models.training.step import train_step
from report.elements import Figure, Table
from report.material import EVALUATION, MODEL_RUN, Artifact, Material, read_material
from report.report import report
from report.sections import sharing, verdict
from report.transfer import task_transfers
from schema.columns import label_name, model_columns, space_name
from schema.spec import Gate, RankingSpec
from schema.training_records import (
    Diagnostics,
    EpochCosines,
    EpochWeights,
    History,
    TaskChoice,
    parse_diagnostics,
    to_json,
)

BALANCINGS = ("none", "uncertainty", "pcgrad")
GATED = {"mmoe", "ml_mmoe", "cgc", "ple", "adatt", "stem"}


def scores_of(ranker: Ranker | ChosenNetworks, batch: dict[str, tf.Tensor]) -> np.ndarray:
    """Returns the scores `(tasks, rows)`."""
    outputs = ranker({column.name: batch[column.name] for column in model_columns(ranker.spec)})
    return np.stack([outputs[task.name][:, 0].numpy() for task in ranker.spec.tasks])


def evaluated(spec: RankingSpec, batch: dict[str, tf.Tensor], scores: dict[str, np.ndarray]) -> Evaluation:
    """Returns the evaluation of the models of these scores on the batch, by the steps that Beam would run."""
    order = np.argsort(batch["user_id"], kind="stable")
    columns = [np.stack([batch[name(task)] for task in spec.tasks])[:, order] for name in (label_name, space_name)]
    users = batch["user_id"].numpy()[order].astype(np.uint64)
    stacked = np.stack([*scores.values()])[:, :, order]
    rows = ScoredRows(users, np.zeros(len(users), np.int64), columns[0], columns[1] > 0, stacked, {})
    tasks = frozenset(task.name for task in spec.tasks)
    routings = {"candidate": spec.model.routing, "reference": "single_task"}
    subjects = [Subject(PlannedModel(name, "", tasks), name, {}, routings[name]) for name in scores]
    plan = make_plan(spec, tuple(subject.planned for subject in subjects))
    (view,) = slice_views(rows, ())
    sums = dict(totals(rows, view, plan))
    moments = dict(influence_moments(rows, view, plan, sums))
    return conclusion([slice_outcome((), sums[()], moments[()], plan)], spec, plan, subjects, "test")


@pytest.fixture(scope="module")
def reference_scores(build, batch) -> np.ndarray:
    return scores_of(build(lean=True, routing="single_task"), batch)


def captions(material: Material) -> list[str]:
    return [block.caption for block in sharing.section(material).blocks if isinstance(block, Figure)]


def diagnosed(ranker: Ranker, batch: dict[str, tf.Tensor]) -> Diagnostics:
    """Returns the trainer's records of an epoch that is this batch."""
    weights = MeanWeights()
    weights.add(weight_sums(ranker.spec.tasks, batch, ranker.evaluate_batch(batch)))
    diagnostics = diagnose(ranker, weights, batch)
    epochs = EpochCosines(1, diagnostics["gradient_cosine"]), EpochWeights(1, diagnostics["loss_weights"])
    return Diagnostics(diagnostics["gate_weights"], diagnostics["refinement_weights"], epochs[:1], epochs[1:])


@pytest.mark.parametrize(("routing", "bottom", "balancing"), itertools.product(ROUTINGS, BOTTOMS, BALANCINGS))
def test_every_ranker_has_a_report(build, batch, reference_scores, routing, bottom, balancing):
    ranker = build(lean=True, routing=routing, bottom=bottom, balancing=balancing)
    train_step(ranker, batch)
    records = diagnosed(ranker, batch)
    scores = {"candidate": scores_of(ranker, batch)}
    if routing != "single_task":
        scores["reference"] = reference_scores
    material = Material(
        "tiny",
        "first",
        evaluation=evaluated(ranker.spec, batch, scores),
        diagnostics=parse_diagnostics(to_json(records)),
        history=History(),
    )

    page = report(material)
    assert verdict.verdict(material).lead in page
    said = "This is a single-task model" if routing == "single_task" else "Of 3 tasks against their single-task models"
    assert verdict.verdict(material).lead.startswith(said)
    drawn = captions(material)
    assert any("each gate gives the experts" in caption for caption in drawn) == (routing in GATED)
    assert any("multiplies each field" in caption for caption in drawn) == (bottom == "dtrn")
    assert any("gradients on what they share" in caption for caption in drawn) == (routing != "single_task")
    assert any("loss was multiplied by" in caption for caption in drawn)


@pytest.mark.parametrize(("bottom", "balancing"), zip(BOTTOMS, BALANCINGS, strict=True))
def test_what_auto_chose_of_every_bottom_has_a_report(build, batch, bottom, balancing):
    shared, own = (
        build(lean=True, routing=routing, bottom=bottom, balancing=balancing) for routing in ("auto", "single_task")
    )
    for ranker in (shared, own):
        train_step(ranker, batch)
    choices = choose_networks(shared, own, [batch])
    choices["like"] = dataclasses.replace(choices["like"], network="own")
    served = with_choices(shared, own, choices)
    scores = {"candidate": scores_of(served, batch), "reference": scores_of(own, batch)}
    records = dataclasses.replace(diagnosed(shared, batch), choices=choices)
    evaluation = evaluated(shared.spec, batch, scores)
    material = Material(
        "tiny", "first", evaluation=evaluation, diagnostics=parse_diagnostics(to_json(records)), history=History()
    )

    assert verdict.verdict(material).lead.startswith("Of 3 tasks against their single-task models")
    assert verdict.verdict(material).lead in report(material)
    tables = [block for block in sharing.section(material).blocks if isinstance(block, Table)]
    rows = next(table.rows for table in tables if "routing: auto" in table.caption)
    assert {row[0].text: row[1].text for row in rows} == {task: choice.network for task, choice in choices.items()}
    gains = [of_task.gain.value for of_task in task_transfers(evaluation) if choices[of_task.task].network == "own"]
    assert gains
    assert set(gains) == {0.0}


def test_what_each_task_chose_is_a_table():
    choices = {
        "click": TaskChoice("both", "auc", {"shared": 0.71, "own": 0.7, "both": 0.72}),
        "completion": TaskChoice("own", "mse", {"shared": 0.2, "own": 0.1, "both": None}),
    }
    records = parse_diagnostics(to_json(Diagnostics(choices=choices)))
    (table,) = sharing.section(Material("tiny", "first", diagnostics=records)).blocks
    assert isinstance(table, Table)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["click", "both", "AUC", "0.7100", "0.7000", "0.7200"],
        ["completion", "own", "MSE", "0.2000", "0.1000", "–"],
    ]
    assert [[cell.tone for cell in row[3:]] for row in table.rows] == [["", "", "good"], ["", "good", ""]]
    assert "routing: auto" in report(Material("tiny", "first", diagnostics=records))


def test_a_single_task_model_goes_from_training_to_its_report(spec, transformed, trainer_arguments, tmp_path):
    model = spec.model.model_copy(update={"routing": "single_task"})
    training = spec.training.model_copy(update={"epochs": 1})
    update = {"model": model, "training": training, "features": (), "behaviours": spec.behaviours[:1]}
    gates = {"gates": {"click": Gate(min_gain=0.002)}}
    single = spec.model_copy(update={**update, **gates})
    run_fn(FnArgs(**trainer_arguments(single, tmp_path)))
    examples = tmp_path / "examples.gz"
    with tf.io.TFRecordWriter(str(examples), "GZIP") as writer:
        for record in transformed.raw["eval"]:
            writer.write(record)
    saved = str(tmp_path / "model")
    judged = evaluate_models([str(examples)], [Model("candidate", saved, saved)], single)
    Path(tmp_path, "evaluation").mkdir()
    result.write(judged, str(tmp_path / "evaluation"))

    artifacts = {MODEL_RUN: Artifact(str(tmp_path / "run")), EVALUATION: Artifact(str(tmp_path / "evaluation"))}
    material = read_material("tiny", "first", artifacts)
    reasons = [check.reason for check in judged.checks if check.kind == "min_gain"]
    assert reasons == ["click: auc is compared with no single-task model: this model is one itself"]
    assert material.unreadable == ()
    assert "This is a single-task model: its tasks share nothing" in report(material)
    (caption,) = captions(material)
    assert caption == "What each task’s loss was multiplied by."
