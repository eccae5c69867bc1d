"""The routings by name: how the tasks share parameters between the ranker's inputs and its towers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import tensorflow as tf

from models.layers import (
    PLE,
    STEM,
    AdaTT,
    CrossStitch,
    CustomizedSharing,
    LevelledRouting,
    MMoE,
    Routing,
    SharedBottom,
    SingleTask,
)
from models.layers.arguments import expert_counts
from schema.modelling import AUTO_ROUTING, shared_routing
from schema.spec import Model, RankingSpec

# What embedding tables, and bottoms above them, there are: one for all tasks; one a task; one a task and a shared one.
Tables = Literal["shared", "own", "own_and_shared"]
Build: TypeAlias = Callable[[Model, int], tf.keras.layers.Layer]


@dataclass(frozen=True)
class RoutingFactory:
    """How to build a routing.

    Attributes:
      build: `build(model, tasks)` returns a layer with the interface of `models.layers.Routing`. In `model`,
        `task_experts` is a count for all tasks, or one count per task in their order.
      tables: what embedding tables it reads.
    """

    build: Build
    tables: Tables = "shared"


def _sizes(model: Model, in_levels: bool) -> tuple[int, tuple[int, ...]]:
    """Returns levels and layer sizes: one level is as deep as all together, so that routings don't differ in depth."""
    return (model.levels, model.expert_units) if in_levels else (1, model.expert_units * model.levels)


def _networks(routing: Callable[..., Routing]) -> Build:
    return lambda model, tasks: routing(tasks, _sizes(model, in_levels=False)[1], name="routing")


def _levelled(routing: type[LevelledRouting], in_levels: bool = True) -> Build:
    def build(model: Model, tasks: int) -> LevelledRouting:
        levels, units = _sizes(model, in_levels)
        experts = expert_counts(model.task_experts, tasks)
        return routing(tasks, levels, experts, model.shared_experts, units, name="routing")

    return build


def _mixture(in_levels: bool) -> Build:
    """Returns how to build a mixture with as many experts in a level as a PLE has in all."""

    def build(model: Model, tasks: int) -> MMoE:
        levels, units = _sizes(model, in_levels)
        experts = sum(expert_counts(model.task_experts, tasks)) + model.shared_experts
        return MMoE(tasks, experts, units, levels, name="routing")

    return build


ROUTINGS: dict[str, RoutingFactory] = {
    "single_task": RoutingFactory(_networks(SingleTask), tables="own"),
    "shared_bottom": RoutingFactory(_networks(SharedBottom)),
    "customized_sharing": RoutingFactory(_networks(CustomizedSharing)),
    "cross_stitch": RoutingFactory(_networks(CrossStitch)),
    "mmoe": RoutingFactory(_mixture(in_levels=False)),
    "ml_mmoe": RoutingFactory(_mixture(in_levels=True)),
    "cgc": RoutingFactory(_levelled(PLE, in_levels=False)),
    "ple": RoutingFactory(_levelled(PLE)),
    "adatt": RoutingFactory(_levelled(AdaTT)),
    "stem": RoutingFactory(_levelled(STEM), tables="own_and_shared"),
}


def check_routing(name: str, where: str = "model.routing") -> RoutingFactory:
    """Returns the routing of that name; of `auto` the one that shares (`models.sharing`).

    Raises:
      ValueError: there is none; the message lists those that there are.
    """
    _check_name(name, routing_names(), where)
    return ROUTINGS[shared_routing(name)]


def routing_names() -> tuple[str, ...]:
    """Returns what `model.routing` may be."""
    return (*ROUTINGS, AUTO_ROUTING)


def check_routings(spec: RankingSpec) -> None:
    """Raises ValueError for a routing, of the model or one to be tried in tuning, that there isn't.

    `auto` isn't tried in tuning: its choice is made once a model and the reference are trained.
    """
    check_routing(spec.model.routing)
    for index, name in enumerate(spec.tuning.routing if spec.tuning else ()):
        _check_name(name, tuple(ROUTINGS), f"tuning.routing[{index}]")


def _check_name(name: str, names: tuple[str, ...], where: str) -> None:
    if name not in names:
        raise ValueError(f"{where}: unknown routing {name!r}, expected one of {', '.join(sorted(names))}")
