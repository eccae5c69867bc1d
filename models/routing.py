"""The routings by name: how the tasks share parameters between the ranker's inputs and its towers."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from models.layers import ProgressiveExtraction, SharedBottom, SingleTask
from schema.spec import Model


@dataclass(frozen=True)
class Routing:
    """How to build a routing: `build(model, tasks)` gives a layer of the interface that `models.layers` describes.

    `own_embeddings` gives every task embedding tables of its own, so that nothing at all is shared.
    """

    build: Callable[[Model, int], tf.keras.layers.Layer]
    own_embeddings: bool = False


def _bottom_units(model: Model) -> tuple[int, ...]:
    """As deep as the extraction levels are together, so that routings differ in what is shared and not in depth."""
    return model.expert_units * model.levels


def _extraction(model: Model, tasks: int, levels: int) -> ProgressiveExtraction:
    return ProgressiveExtraction(
        tasks, levels, model.task_experts, model.shared_experts, model.expert_units, name="routing"
    )


ROUTINGS: dict[str, Routing] = {
    "single_task": Routing(lambda m, tasks: SingleTask(tasks, _bottom_units(m), name="routing"), own_embeddings=True),
    "shared_bottom": Routing(lambda m, tasks: SharedBottom(tasks, _bottom_units(m), name="routing")),
    "cgc": Routing(lambda m, tasks: _extraction(m, tasks, levels=1)),
    "ple": Routing(lambda m, tasks: _extraction(m, tasks, m.levels)),
}


def check_routing(name: str) -> Routing:
    """The routing of that name.

    Raises:
      ValueError: there is none; the message lists those that there are.
    """
    if name not in ROUTINGS:
        raise ValueError(f"model.routing: unknown routing {name!r}, expected one of {', '.join(sorted(ROUTINGS))}")
    return ROUTINGS[name]
