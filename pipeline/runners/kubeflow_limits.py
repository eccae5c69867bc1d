"""Measures a compiled pipeline against what Kubeflow Pipelines can start."""

import json
from typing import Any

# In bytes. The driver of a run is started with the `root` component as one argument, and a task's launcher with what
# the task is invoked with: Linux takes 128 KiB in one argument, Kubernetes' templates quote and copy it. The whole
# becomes one Workflow, of which etcd takes 1.5 MiB, and in which it stands more than once.
ROOT_LIMIT, ARGUMENT_LIMIT, PIPELINE_LIMIT = 64_000, 64_000, 400_000

Json = dict[str, Any]


class SizeError(ValueError):
    """A compiled pipeline is larger than Kubeflow can start; the message has the numbers."""


def measure(compiled: Json) -> dict[str, tuple[int, int]]:
    """Returns the bytes of the root component, of each task's longest argument and of the whole, with their limits."""
    root = compiled["root"]
    defaults = {name: value.get("defaultValue") for name, value in root["inputDefinitions"]["parameters"].items()}
    arguments = {
        f"the longest argument of the task {name}": (_longest_argument(compiled, task, defaults), ARGUMENT_LIMIT)
        for name, task in root["dag"]["tasks"].items()
    }
    return {
        "the root component": (_size(root), ROOT_LIMIT),
        **arguments,
        "the whole pipeline": (_size(compiled), PIPELINE_LIMIT),
    }


def check_size(compiled: Json) -> None:
    """Raises SizeError if some of a compiled pipeline is above its limit."""
    excesses = [
        f"{name} has {size:,} bytes, of which Kubeflow takes {limit:,}"
        for name, (size, limit) in measure(compiled).items()
        if size > limit
    ]
    if excesses:
        raise SizeError(
            "the compiled pipeline is too large; fewer columns, or shorter names, make it smaller:\n  "
            + "\n  ".join(excesses)
        )


def _longest_argument(compiled: Json, task: Json, defaults: Json) -> int:
    """Returns the bytes of the longest argument of a task, with the parameters' default values in it.

    Its driver gets the whole container as one argument, the container what it is invoked with.
    """
    component = compiled["components"][task["componentRef"]["name"]]
    container = compiled["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
    values = {
        name: defaults[value["componentInputParameter"]]
        if "componentInputParameter" in value
        else value["runtimeValue"]["constant"]
        for name, value in task.get("inputs", {}).get("parameters", {}).items()
    }
    # In the place of `{{$}}`: the values of the parameters, and each artifact with its URI and its type.
    return max(_size({"values": values, "artifacts": component}), _size(container))


def _size(message: Any) -> int:
    return len(json.dumps(message, separators=(",", ":")).encode())
