"""From the outcomes of all slices to the one result, with the gate's verdict."""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.gate import Comparand, checks
from evaluation.influence import comparisons
from evaluation.metrics.uncertainty import CONFIDENCE
from evaluation.outcome import SliceOutcome, in_order, slice_result
from evaluation.plan import Plan, PlannedModel
from evaluation.result import BASELINE, REFERENCE, Evaluation, Model, ModelName, Task
from schema.modelling import SINGLE_TASK
from schema.spec import RankingSpec


@dataclass(frozen=True)
class Subject:
    """A model to evaluate: how it is scored and where it came from.

    `not_compared` says why it can't be compared on which tasks, `routing` how it shares, where that is known.
    """

    planned: PlannedModel
    uri: str
    not_compared: dict[str, str]
    routing: str | None = None


def conclusion(
    outcomes: Sequence[SliceOutcome], spec: RankingSpec, plan: Plan, subjects: Sequence[Subject], split: str
) -> Evaluation:
    """Returns the evaluation of all slices.

    The candidate is blessed where the gate checked something and nothing of it blocks.

    Raises:
      ValueError: there are no examples.
    """
    if not outcomes:
        raise ValueError(f"the split {split!r} has no examples to evaluate on")
    ordered = in_order(outcomes, plan)
    checked = checks(spec, plan, ordered, _comparand(BASELINE, plan, subjects), _comparand(REFERENCE, plan, subjects))
    return Evaluation(
        spec.name,
        split,
        CONFIDENCE,
        ordered[0].count(0, "rows"),
        tuple(Task(task.name, task.regression, task.metrics[0].name) for task in plan.tasks),
        tuple(Model(subject.planned.name, subject.uri, subject.not_compared, subject.routing) for subject in subjects),
        tuple(slice_result(outcome, plan, task) for outcome in ordered for task in range(len(plan.tasks))),
        ordered[0].curves,
        checked,
        bool(checked) and not any(check.blocks for check in checked),
    )


def _comparand(name: ModelName, plan: Plan, subjects: Sequence[Subject]) -> Comparand:
    not_compared = next((subject.not_compared for subject in subjects if subject.planned.name == name), {})
    for c, (_, against) in enumerate(comparisons(plan)):
        if against is not None and plan.models[against].name == name:
            return Comparand(c, not_compared)
    if name == REFERENCE and subjects[0].routing == SINGLE_TASK:
        not_compared = dict.fromkeys((task.name for task in plan.tasks), "this model is one itself")
    return Comparand(None, not_compared)
