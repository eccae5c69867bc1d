"""The seesaw gate: no task may fall behind the blessed model by more than its `max_drop`, whatever the others win, and
none may lose by sharing more than its `max_loss`.

A difference d (more is better) with the 95 % interval [low, high] is judged in three ways:

    holds     low >= -max_drop                        (non-inferior)
    fails     low < -max_drop, on data that would have let an equal model pass;
              or the interval as a whole, widened for the number of checks, lies below -max_drop
    unjudged  otherwise: the data can't tell

"Would have let an equal model pass": with a true difference of 0, low >= -max_drop has a probability of at least
1 - 0.1 / checks. That is so when the interval's half-width is at most `max_drop * t / (t + z)`, with t and z Student's
quantiles for the interval and for 1 - 0.1 / checks. So, whatever the number of checks, less than a tenth of equal
models fail.

A gain g over the single-task reference (more is better) with the 95 % interval [low, high] is judged against what is
allowed and what is asked for:

    max_loss  fails where high < -max_loss: the task loses beyond its interval, and beyond what it may
    min_gain  holds where low >= min_gain, and fails otherwise: the model has to show its gain

With a true gain of 0 a task fails its `max_loss` of 0 with a probability of 2.5 %, so one of T tasks with at most
2.5 % * T.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from evaluation.metrics import metric_named
from evaluation.metrics.grouped_auc import GroupedAUC
from evaluation.metrics.uncertainty import CONFIDENCE, Interval
from evaluation.outcome import SliceOutcome, estimate
from evaluation.plan import Plan, PlannedTask
from evaluation.result import MIN_USERS, Check, CheckKind, Estimate, SliceKey, Verdict, slice_text
from schema.spec import Gate, RankingSpec

# How many equal models may fail, over all checks of an evaluation.
FALSE_ALARMS = 0.1
# The metric of the lists that were ranked at once, which a gate may ask for beside the first one.
GROUPED = GroupedAUC.name
# What a binary task without a gate has to reach: a blessing needs a threshold.
CHANCE = Gate(auc=0.5)


def gates(spec: RankingSpec) -> dict[str, Gate]:
    """Returns every task's gate, with the floor that a binary task always has."""
    result = {}
    for task in spec.tasks:
        gate = spec.gates.get(task.name, Gate())
        if not task.is_regression and gate.auc is None:
            gate = gate.model_copy(update={"auc": CHANCE.auc})
        result[task.name] = gate
    return result


def resolvable_half_width(difference: Interval, max_drop: float, checks: int) -> float:
    """Returns the half-width up to which an equal model passes with a probability of 1 - FALSE_ALARMS / checks."""
    quantiles = np.array([(1 + CONFIDENCE) / 2, 1 - FALSE_ALARMS / checks])
    t, z = special.stdtrit(difference.degrees_of_freedom, quantiles).tolist()
    return max_drop * t / (t + z)


def verdict(difference: Interval, max_drop: float, checks: int) -> Verdict:
    """Judges a difference, turned so that more is better; `checks` is how many such verdicts the evaluation makes."""
    half = difference.half_width()
    if difference.value - half >= -max_drop:
        return "holds"
    if half <= resolvable_half_width(difference, max_drop, checks):
        return "fails"
    widened = difference.half_width(1 - (1 - CONFIDENCE) / checks)
    return "fails" if difference.value + widened < -max_drop else "unjudged"


def reaches(gain: Interval, kind: CheckKind, bound: float) -> bool:
    """Returns whether a gain over the reference, in which more is better, is within `max_loss` or shows `min_gain`."""
    half = gain.half_width()
    return gain.value - half >= bound if kind == "min_gain" else gain.value + half >= -bound


@dataclass(frozen=True)
class Comparand:
    """What the candidate is compared with: the blessed model, or the single-task reference.

    Attributes:
      comparison: the index of the difference from it in `influence.comparisons`; None where there is no such model.
      not_compared: of the tasks that can't be compared, why.
    """

    comparison: int | None
    not_compared: dict[str, str]


def checks(
    spec: RankingSpec, plan: Plan, outcomes: Sequence[SliceOutcome], baseline: Comparand, reference: Comparand
) -> tuple[Check, ...]:
    """Returns all that the gates of the spec ask for, task by task; the whole split first.

    Args:
      baseline: the blessed model.
      reference: the single-task model; where there is one, no task may lose against it, whether it has a gate or not.
    """
    overall = next(outcome for outcome in outcomes if not outcome.key)
    declared = gates(spec)
    drops: list[tuple[int, Gate, SliceOutcome, str, float]] = []
    for t, task in enumerate(plan.tasks):
        gate, first_metric = declared[task.name], task.metrics[0].name
        if gate.max_drop is not None:
            drops.append((t, gate, overall, first_metric, gate.max_drop))
        if gate.grouped_max_drop is not None:
            drops.append((t, gate, overall, GROUPED, gate.grouped_max_drop))
        if gate.slices is not None:
            gated_slices = gate.slices.keys or spec.slices
            drops += [
                (t, gate, outcome, first_metric, gate.slices.max_drop)
                for outcome in outcomes
                if outcome.key and tuple(name for name, _ in outcome.key) in gated_slices
            ]
    results: list[Check] = []
    for t, task in enumerate(plan.tasks):
        results += _bounds(plan, t, declared[task.name], overall)
        results += _transfers(plan, t, declared[task.name], overall, reference)
        results += [_drop(plan, *drop, baseline, len(drops)) for drop in drops if drop[0] == t]
    return tuple(results)


def _bounds(plan: Plan, task: int, gate: Gate, overall: SliceOutcome) -> list[Check]:
    planned = plan.tasks[task]
    bounds = {planned.metrics[0].name: gate.mse if planned.regression else gate.auc, GROUPED: gate.grouped_auc}
    return [
        _bound(planned, task, gate, overall, metric, bound) for metric, bound in bounds.items() if bound is not None
    ]


def _bound(planned: PlannedTask, task: int, gate: Gate, overall: SliceOutcome, metric: str, bound: float) -> Check:
    candidate = estimate(overall.interval(task, 0, metric))
    kind: CheckKind = "ceiling" if planned.regression else "floor"
    name = _where(planned.name, ())
    if candidate.value is None:
        reason = f"{name}: {metric} can't be judged, it is undefined: {_classes(overall, task, metric)}"
        return _check(planned.name, (), kind, metric, candidate, bound, "unjudged", gate.if_unjudged or "block", reason)
    holds = candidate.value <= bound if planned.regression else candidate.value >= bound
    if holds:
        reason = f"{name}: {metric} is {candidate.value:.4f}{_ends(candidate)}, within the gate's {bound:.4f}"
    else:
        side = "above" if planned.regression else "below"
        reason = f"{name}: {metric} is {candidate.value:.4f}{_ends(candidate)}, {side} the gate's {bound:.4f}"
    return _check(planned.name, (), kind, metric, candidate, bound, "holds" if holds else "fails", "block", reason)


def _transfers(plan: Plan, task: int, gate: Gate, overall: SliceOutcome, reference: Comparand) -> list[Check]:
    """Returns what a task may lose, and has to gain, by sharing: what the spec declares, and no loss by default."""
    default = None if reference.comparison is None else 0.0
    bounds: dict[CheckKind, float | None] = {
        "max_loss": default if gate.max_loss is None else gate.max_loss,
        "min_gain": gate.min_gain,
    }
    return [
        _transfer(plan, task, kind, bound, gate.if_unjudged or "pass", overall, reference)
        for kind, bound in bounds.items()
        if bound is not None
    ]


def _transfer(
    plan: Plan, task: int, kind: CheckKind, bound: float, if_unjudged: str, overall: SliceOutcome, reference: Comparand
) -> Check:
    planned = plan.tasks[task]
    metric, name = planned.metrics[0].name, planned.name

    def check(estimated: Estimate, judged: Verdict, reason: str) -> Check:
        return _check(name, (), kind, metric, estimated, bound, judged, if_unjudged, f"{name}: {reason}")

    if reference.comparison is None or name in reference.not_compared:
        why = reference.not_compared.get(name, "none was trained; `training: {reference: true}` trains one")
        return check(Estimate(None), "not compared", f"{metric} is compared with no single-task model: {why}")
    difference = overall.interval(task, reference.comparison, metric)
    gain = difference if metric_named(metric).higher_is_better else -difference
    estimated = estimate(gain)
    same = gain.value == 0 and gain.standard_error == 0
    if estimated.low is None or (_few(overall, task, metric) and not same):
        reason = f"{metric} can't be judged against the single-task model: {_classes(overall, task, metric)}"
        return check(estimated, "unjudged", reason)
    statement = f"the gain in {metric} over the single-task model is {estimated.value:+z.4f}{_ends(estimated, '+z')}"
    holds = reaches(gain, kind, bound)
    if kind == "min_gain":
        ends = f"its lower end {'reaches' if holds else 'is below'} the gate's {bound:+.4f}"
    else:
        ends = f"{'no' if holds else 'a'} loss beyond its interval" + (f" and the allowed {bound:.4f}" * (bound > 0))
    return check(estimated, "holds" if holds else "fails", f"{statement}, {ends}")


def _drop(
    plan: Plan,
    task: int,
    gate: Gate,
    outcome: SliceOutcome,
    metric: str,
    max_drop: float,
    baseline: Comparand,
    count: int,
) -> Check:
    planned = plan.tasks[task]
    name = _where(planned.name, outcome.key)
    if_unjudged = gate.slices.if_unjudged if outcome.key and gate.slices else gate.if_unjudged or "block"

    def check(estimated: Estimate, judged: Verdict, reason: str) -> Check:
        return _check(planned.name, outcome.key, "max_drop", metric, estimated, max_drop, judged, if_unjudged, reason)

    if baseline.comparison is None or planned.name in baseline.not_compared:
        why = baseline.not_compared.get(planned.name, "there is no blessed model yet")
        return check(Estimate(None), "not compared", f"{name}: {metric} is compared with no blessed model: {why}")
    raw = outcome.interval(task, baseline.comparison, metric)
    difference = estimate(raw)
    unjudged = f"{name}: {metric} can't be judged against the blessed model"
    if difference.value is None:
        return check(difference, "unjudged", f"{unjudged}: {_classes(outcome, task, metric)}")
    changed = f"{metric} changed by {difference.value:+.4f}{_ends(difference, '+')} against the blessed model"
    allowed = f"allowed {max_drop if planned.regression else -max_drop:+.4f}"
    if difference.value == 0 and raw.standard_error == 0:
        return check(difference, "holds", f"{name}: {changed}, {allowed}")
    if difference.low is None or _few(outcome, task, metric):
        return check(difference, "unjudged", f"{unjudged}: {_classes(outcome, task, metric)}")
    better = raw if metric_named(metric).higher_is_better else -raw
    judged = verdict(better, max_drop, count)
    if judged == "unjudged":
        needed = resolvable_half_width(better, max_drop, count)
        return check(
            difference,
            judged,
            f"{unjudged}: it changed by {difference.value:+.4f}{_ends(difference, '+')}, {allowed}; "
            f"that takes an interval of ±{needed:.4f}, this one is ±{better.half_width():.4f}",
        )
    return check(difference, judged, f"{name}: {changed}, {allowed}")


def _check(
    task: str,
    key: SliceKey,
    kind: CheckKind,
    metric: str,
    estimated: Estimate,
    bound: float,
    judged: Verdict,
    if_unjudged: str,
    reason: str,
) -> Check:
    blocks = judged == "fails" or (judged == "unjudged" and if_unjudged == "block")
    return Check(task, key, kind, metric, estimated, bound, judged, blocks, reason)


def _where(task: str, key: SliceKey) -> str:
    return f"{task}, {slice_text(key)}" if key else task


def _ends(estimated: Estimate, sign: str = "") -> str:
    if estimated.low is None or estimated.high is None:
        return ""
    return f" [{estimated.low:{sign}.4f}, {estimated.high:{sign}.4f}]"


def _few(outcome: SliceOutcome, task: int, metric: str) -> bool:
    names = ("users",) if metric_named(metric).task_kind == "regression" else ("positive_users", "negative_users")
    if metric == GROUPED:
        names = ("ranked_users",)
    return any(outcome.count(task, name) < MIN_USERS for name in names)


def _classes(outcome: SliceOutcome, task: int, metric: str) -> str:
    if metric == GROUPED:
        ranked = outcome.count(task, "ranked_users")
        return f"{ranked:,} users with a list of both classes, expected at least {MIN_USERS}"
    if metric_named(metric).task_kind == "regression":
        return f"{outcome.count(task, 'users'):,} users, expected at least {MIN_USERS}"
    positive, negative = (outcome.count(task, name) for name in ("positive_users", "negative_users"))
    return f"{positive:,} users with a positive and {negative:,} with a negative, expected at least {MIN_USERS} of each"
