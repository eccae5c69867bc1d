"""What the tasks share: which experts and fields they use, whether gradients pull apart, how losses are weighed."""

from collections.abc import Sequence
from typing import get_args

from evaluation.result import CANDIDATE
from report import charts
from report.elements import Block, Cell, Figure, Section, Table
from report.material import Material
from schema.modelling import SINGLE_TASK
from schema.training_records import Diagnostics, EpochCosines, Network


def section(material: Material) -> Section:
    """Shows expert utilisation and gradient conflict, where the trainer left a `diagnostics.json`."""
    diagnostics = material.diagnostics
    if diagnostics is None:
        return Section("sharing", "Sharing", ["The trainer recorded neither expert utilisation nor gradient conflict."])
    candidate = material.evaluation and material.evaluation.model(CANDIDATE)
    blocks: list[Block] = []
    if candidate and candidate.routing == SINGLE_TASK:
        blocks.append("A single-task model: its tasks share nothing.")
    if diagnostics.choices:
        blocks.append(_choices(diagnostics))
    if diagnostics.gate_weights:
        blocks.append(_gates(diagnostics))
    if diagnostics.refinement_weights:
        blocks.append(_refinement(diagnostics))
    # Without a weight that two tasks share, no gradients can pull apart.
    if cosines := [epoch for epoch in diagnostics.gradient_cosine if epoch.pairs]:
        blocks.append(_conflict(cosines))
        blocks.append(_cosines(cosines))
    weights = [
        {"x": epoch.epoch, "y": weight, "series": task}
        for epoch in diagnostics.loss_weights
        for task, weight in epoch.weights.items()
    ]
    if weights:
        blocks.append(
            Figure(
                "What each task’s loss was multiplied by.", {"": charts.lines(weights, "epoch", "weight", steps=True)}
            )
        )
    return Section("sharing", "Sharing", blocks or ["The trainer’s diagnostics are empty."])


def _choices(diagnostics: Diagnostics) -> Table:
    columns = get_args(Network)
    rows = [
        [
            Cell(task),
            Cell(choice.network, choice.network),
            Cell(choice.metric if choice.metric == "loss" else choice.metric.upper()),
            *(_figure(choice.values.get(network), network == choice.network) for network in columns),
        ]
        for task, choice in diagnostics.choices.items()
    ]
    caption = (
        "Which network serves each task, and by which figures of the eval split it was chosen: the one that shares, a "
        "network of the task’s own, or the mean of both (routing: auto)."
    )
    return Table(caption, ["task", "served by", "metric", *columns], rows, numeric=columns)


def _figure(value: float | None, chosen: bool) -> Cell:
    return Cell("–" if value is None else f"{value:.4f}", value, "good" if chosen else "")


def _gates(diagnostics: Diagnostics) -> Figure:
    levels: dict[str, list[dict]] = {}
    for gate, weights in diagnostics.gate_weights.items():
        level, _, name = gate.rpartition("/")
        levels.setdefault(level or "gates", []).extend(
            {"x": str(number), "y": name.removeprefix("task_"), "value": weight}
            for number, weight in enumerate(weights, start=1)
        )
    drawn = {level: charts.heat(rows, "expert", "gate") for level, rows in levels.items()}
    caption = (
        "The mean weight that each gate gives the experts it reads, in its order. Of a task’s own and the shared ones, "
        "its own come first; of every task’s, as the shared gate and those of adatt and stem read them, they come in "
        "the order of the tasks, the shared ones last; of mmoe’s all are shared. A gate of even weights does not "
        "choose; a weight near 0 is an expert that the gate does not use."
    )
    return Figure(caption, drawn, "Level")


def _refinement(diagnostics: Diagnostics) -> Figure:
    rows = [
        {"x": task, "y": field, "value": weight}
        for task, weights in diagnostics.refinement_weights.items()
        for field, weight in weights.items()
    ]
    caption = "What each task multiplies each field of its input by, in the mean: below 1 it counts for less."
    return Figure(caption, {"": charts.heat(rows, "", "", around=1)})


def _conflict(epochs: Sequence[EpochCosines]) -> Figure:
    last = epochs[-1]
    drawn = {}
    for epoch in (last, *epochs[:-1]):
        cosines = {tuple(pair.split("|", 1)): cosine for pair, cosine in epoch.pairs.items()}
        tasks = list(dict.fromkeys(task for pair in cosines for task in pair))
        rows = [
            {"x": across, "y": down, "value": cosines.get((across, down), cosines.get((down, across)))}
            for down in tasks
            for across in tasks
            if across != down
        ]
        drawn[f"{epoch.epoch}"] = charts.heat(rows, "", "", around=0, order=tasks)
    caption = "The cosine between two tasks’ gradients on what they share: below 0 they pull apart."
    return Figure(caption, drawn, "Epoch")


def _cosines(epochs: Sequence[EpochCosines]) -> Figure:
    rows = [
        {"x": epoch.epoch, "y": cosine, "series": pair.replace("|", " × ")}
        for epoch in epochs
        for pair, cosine in epoch.pairs.items()
    ]
    return Figure("The same cosines by epoch.", {"": charts.lines(rows, "epoch", "cosine", steps=True)})
