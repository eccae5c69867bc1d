"""Packs the long texts among the constants of a compiled pipeline, the spec's parts and the schema, into one parameter.

TFX writes each text into the task that it belongs to. Kubeflow hands all tasks to the container that starts the run, as
one argument, and a task's own texts to the task's container as another: with some hundred features, either is longer
than Linux takes. The parts of a spec are much alike, so that packed together they take little more than one.
"""

import base64
import json
import lzma
from collections.abc import Iterator, Mapping
from typing import Any

# The parameter of the run, and of each task that has long texts.
CONSTANTS = "constants"
CONSTANTS_DESCRIPTION = "What the pipeline was compiled from (the spec and its schema), packed; not to be changed."
# Says to the entry point whose texts are to be unpacked.
CONSTANTS_OF = "--constants_of"

# Characters up to which a text stays where TFX puts it, to be read in Kubeflow's interface.
_SHORT = 200

Json = dict[str, Any]


def pack(texts: Mapping[str, Mapping[str, str]]) -> str:
    """Returns texts by task and parameter as one text, of characters that mean nothing to Kubeflow, JSON or a shell."""
    # LZMA finds repetitions that are megabytes apart, zlib those within 32 KiB.
    compressed = lzma.compress(json.dumps(texts, sort_keys=True).encode(), preset=6)
    return base64.urlsafe_b64encode(compressed).decode()


def unpack(packed: str, task: str) -> dict[str, str]:
    """Returns the texts of one task, by parameter.

    Raises:
      ValueError: the text is not what `pack` gave, or holds nothing of the task.
    """
    try:
        texts = json.loads(lzma.decompress(base64.urlsafe_b64decode(packed)))
        return texts[task]
    except (ValueError, lzma.LZMAError, KeyError) as error:
        raise ValueError(
            f"{CONSTANTS}: expected the text that this pipeline was compiled with, with the constants of {task}, "
            f"got {packed[:40]!r}… of {len(packed):,} characters: {error!r}"
        ) from None


def move_constants(compiled: Json) -> None:
    """Moves the long texts of all tasks into one parameter of the run, to which the tasks refer."""
    texts = {name: dict(_long_texts(task)) for name, task in compiled["root"]["dag"]["tasks"].items()}
    texts = {name: long for name, long in texts.items() if long}
    for name, long in texts.items():
        task = compiled["root"]["dag"]["tasks"][name]
        component = compiled["components"][task["componentRef"]["name"]]
        for parameter in long:
            del task["inputs"]["parameters"][parameter], component["inputDefinitions"]["parameters"][parameter]
        task["inputs"]["parameters"][CONSTANTS] = {"componentInputParameter": CONSTANTS}
        component["inputDefinitions"]["parameters"][CONSTANTS] = {"parameterType": "STRING"}
        executor = compiled["deploymentSpec"]["executors"][component["executorLabel"]]
        executor["container"]["args"] += [CONSTANTS_OF, name]
    compiled["root"]["inputDefinitions"]["parameters"][CONSTANTS] = {
        "parameterType": "STRING",
        "description": CONSTANTS_DESCRIPTION,
        "defaultValue": pack(texts),
        "isOptional": True,
    }


def restore_constants(invocation: Json, task: str) -> None:
    """Puts a task's texts back among the values of its parameters, in what its container was invoked with."""
    values = invocation["inputs"]["parameterValues"]
    values |= unpack(values.pop(CONSTANTS), task)


def _long_texts(task: Json) -> Iterator[tuple[str, str]]:
    for parameter, value in task.get("inputs", {}).get("parameters", {}).items():
        constant = value.get("runtimeValue", {}).get("constant")
        if isinstance(constant, str) and len(constant) > _SHORT:
            yield parameter, constant
