"""Whether a spec's gates can ever bless a model."""

from collections.abc import Iterator

from schema.modelling import SINGLE_TASK
from schema.spec import Gate, RankingSpec


def blessing_doubts(spec: RankingSpec) -> Iterator[str]:
    """Yields a sentence for each thing that keeps a model from being blessed, or lets one be unjudged.

    A binary task always has a floor (AUC 0.5); a regression is judged by what its gate says, and against a reference.
    """
    if spec.trains_reference:
        return
    unjudged = [
        task.name for task in spec.tasks if task.is_regression and not _judges(spec.gates.get(task.name, Gate()))
    ]
    names = ", ".join(unjudged)
    if len(unjudged) == len(spec.tasks):
        reference = "" if spec.model.routing == SINGLE_TASK else ", or `training.reference: true`"
        yield (
            f"gates: no model will be blessed: nothing judges the tasks, which are regressions ({names}); "
            f"expected `mse` or `max_drop` in a gate{reference}"
        )
    elif unjudged:
        yield f"gates: nothing judges the regressions {names}; expected `mse` or `max_drop` in a gate"
    yield from _gain_doubts(spec)


def _gain_doubts(spec: RankingSpec) -> Iterator[str]:
    """Yields a sentence for each gain that a gate asks for, of a spec without a reference to gain over."""
    for task, gate in spec.gates.items():
        if gate.min_gain is None:
            continue
        why = "no reference is trained; expected `training.reference: true`"
        if spec.model.routing == SINGLE_TASK:
            why = "the model is a single-task one itself; expected a routing that shares"
        yield f"gates.{task}.min_gain: nothing has to be gained: {why}"


def _judges(gate: Gate) -> bool:
    bounds = (gate.mse, gate.max_drop, gate.grouped_max_drop, gate.slices)
    return any(bound is not None for bound in bounds)
