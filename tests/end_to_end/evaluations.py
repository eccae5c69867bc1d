"""What an evaluation found, in a form that two can be compared in."""

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
