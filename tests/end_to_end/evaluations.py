"""What a training and an evaluation measured, in a form that two can be compared in."""

import json
from pathlib import Path

import tensorflow_model_analysis as tfma

Metrics = dict[tuple, float]


def metrics(evaluation: Path | str, model: str = "") -> Metrics:
    """The value of each metric by slice, task and name; `model` where the evaluation is of several."""
    return {
        (slice_key, task, name): value["doubleValue"]
        for slice_key, by_task in tfma.load_eval_result(str(evaluation), model_name=model).slicing_metrics
        for task, by_class in by_task.items()
        for name, value in by_class[""].items()
        if "doubleValue" in value
    }


def epochs(model_run: Path) -> Metrics:
    """What training measured, by epoch, split, task and name, without the time it took."""
    history = json.loads((model_run / "history.json").read_text())
    return {
        (epoch["epoch"], split, task, name): value
        for epoch in history["epochs"]
        for split in ("train", "eval")
        for task, by_name in epoch[split].items()
        for name, value in by_name.items()
    }
