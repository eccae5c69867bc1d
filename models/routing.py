"""The routings by name: how the tasks share parameters between the ranker's inputs and its towers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from models.layers import (
    CrossStitch,
    CustomizedSharing,
    MultiGateMixture,
    ProgressiveExtraction,
    SharedBottom,
    SingleTask,
    StemExtraction,
    TaskFusion,
)
from models.layers.arguments import expert_counts
from schema.spec import Model, RankingSpec

# What embedding tables, and bottoms above them, there are: one for all tasks; one a task; one a task and a shared one.
Tables = Literal["shared", "own", "own_and_shared"]


@dataclass(frozen=True)
class Routing:
    """How to build a routing: `build(model, tasks)` gives a layer of the interface that `models.layers` describes.

    `model.task_experts` is a count for all tasks, or one count per task in their order.
    """

    build: Callable[[Model, int], tf.keras.layers.Layer]
    tables: Tables = "shared"


def _bottom_units(model: Model) -> tuple[int, ...]:
    """As deep as the extraction levels are together, so that routings differ in what is shared and not in depth."""
    return model.expert_units * model.levels


def _extraction(model: Model, tasks: int, levels: int, units: Sequence[int]) -> ProgressiveExtraction:
    own = expert_counts(model.task_experts, tasks)
    return ProgressiveExtraction(tasks, levels, own, model.shared_experts, units, name="routing")


def _mixture(model: Model, tasks: int, levels: int, units: Sequence[int]) -> MultiGateMixture:
    """With as many experts as an extraction level has in all."""
    own = expert_counts(model.task_experts, tasks)
    return MultiGateMixture(tasks, sum(own) + model.shared_experts, units, levels, name="routing")


def _fusion(model: Model, tasks: int) -> TaskFusion:
    own = expert_counts(model.task_experts, tasks)
    return TaskFusion(tasks, model.levels, own, model.shared_experts, model.expert_units, name="routing")


def _stem(model: Model, tasks: int) -> StemExtraction:
    own = expert_counts(model.task_experts, tasks)
    return StemExtraction(tasks, model.levels, own, model.shared_experts, model.expert_units, name="routing")


ROUTINGS: dict[str, Routing] = {
    "single_task": Routing(lambda m, tasks: SingleTask(tasks, _bottom_units(m), name="routing"), tables="own"),
    "shared_bottom": Routing(lambda m, tasks: SharedBottom(tasks, _bottom_units(m), name="routing")),
    "customized_sharing": Routing(lambda m, tasks: CustomizedSharing(tasks, _bottom_units(m), name="routing")),
    "cross_stitch": Routing(lambda m, tasks: CrossStitch(tasks, _bottom_units(m), name="routing")),
    "mmoe": Routing(lambda m, tasks: _mixture(m, tasks, 1, _bottom_units(m))),
    "ml_mmoe": Routing(lambda m, tasks: _mixture(m, tasks, m.levels, m.expert_units)),
    "cgc": Routing(lambda m, tasks: _extraction(m, tasks, 1, _bottom_units(m))),
    "ple": Routing(lambda m, tasks: _extraction(m, tasks, m.levels, m.expert_units)),
    "adatt": Routing(_fusion),
    "stem": Routing(_stem, tables="own_and_shared"),
}


def check_routing(name: str, where: str = "model.routing") -> Routing:
    """The routing of that name.

    Raises:
      ValueError: there is none; the message lists those that there are.
    """
    if name not in ROUTINGS:
        raise ValueError(f"{where}: unknown routing {name!r}, expected one of {', '.join(sorted(ROUTINGS))}")
    return ROUTINGS[name]


def check_routings(spec: RankingSpec) -> None:
    """Raises ValueError for a routing, of the model or one to be tried in tuning, that there isn't."""
    check_routing(spec.model.routing)
    for place, name in enumerate(spec.tuning.routing if spec.tuning else ()):
        check_routing(name, f"tuning.routing[{place}]")
