"""The seesaw gate: no task may fall behind the blessed model by more than its `max_drop`, whatever the others win.

A difference d (more is better) with the 95 % interval [low, high] is judged in three ways:

    holds     low >= -max_drop                        (non-inferior)
    fails     low < -max_drop, on data that would have let an equal model pass;
              or the interval as a whole, widened for the number of checks, lies below -max_drop
    unjudged  otherwise: the data can't tell

"Would have let an equal model pass": with a true difference of 0, low >= -max_drop has a probability of at least
1 - 0.1 / checks. That is so when the interval's half-width is at most `max_drop * t / (t + z)`, with t and z Student's
quantiles for the interval and for 1 - 0.1 / checks. So, whatever the number of checks, less than a tenth of equal
models fail.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from evaluation.metrics.uncertainty import CONFIDENCE, Interval
from evaluation.outcome import SliceOutcome, estimate
from evaluation.plan import Plan
from evaluation.result import METRICS, Check, Estimate, SliceKey, Verdict, slice_text
from schema.spec import Gate, RankingSpec

# How many equal models may fail, over all checks of an evaluation.
FALSE_ALARMS = 0.1
# Fewer users with a positive, or with a negative, say too little about how users differ.
MIN_USERS = 10
# What a binary task without a gate has to reach: a blessing needs a threshold.
CHANCE = Gate(auc=0.5)


def gates(spec: RankingSpec) -> dict[str, Gate]:
    """Every task's gate, with the floor that a binary task always has."""
    result = {}
    for task in spec.tasks:
        gate = spec.gates.get(task.name, Gate())
        if not task.is_regression and gate.auc is None:
            gate = gate.model_copy(update={"auc": CHANCE.auc})
        result[task.name] = gate
    return result


def resolvable_half_width(difference: Interval, max_drop: float, checks: int) -> float:
    """The half-width up to which an equal model passes with a probability of at least 1 - FALSE_ALARMS / checks."""
    quantiles = np.array([(1 + CONFIDENCE) / 2, 1 - FALSE_ALARMS / checks])
    t, z = special.stdtrit(difference.degrees_of_freedom, quantiles).tolist()
    return max_drop * t / (t + z)


def verdict(difference: Interval, max_drop: float, checks: int) -> Verdict:
    """Of a difference turned so that more is better; `checks` is how many such verdicts the evaluation makes."""
    half = difference.half_width()
    if difference.value - half >= -max_drop:
        return "holds"
    if half <= resolvable_half_width(difference, max_drop, checks):
        return "fails"
    widened = difference.half_width(1 - (1 - CONFIDENCE) / checks)
    return "fails" if difference.value + widened < -max_drop else "unjudged"


@dataclass(frozen=True)
class Comparison:
    """The baseline's place in the plan's targets, and of the tasks without one, why; `target` None: no baseline."""

    target: int | None
    not_compared: dict[str, str]


def checks(spec: RankingSpec, plan: Plan, outcomes: Sequence[SliceOutcome], baseline: Comparison) -> tuple[Check, ...]:
    """Everything that the gates of the spec ask for, task by task; the whole split first."""
    by_key = {one.key: one for one in outcomes}
    declared = gates(spec)
    drops: list[tuple[int, Gate, SliceOutcome, float]] = []
    for t, task in enumerate(plan.tasks):
        gate = declared[task.name]
        if gate.max_drop is not None:
            drops.append((t, gate, by_key[()], gate.max_drop))
        if gate.slices is not None:
            asked = gate.slices.keys or spec.slices
            drops += [
                (t, gate, one, gate.slices.max_drop)
                for one in outcomes
                if one.key and tuple(name for name, _ in one.key) in asked
            ]
    found: list[Check] = []
    for t, task in enumerate(plan.tasks):
        found += _bounds(plan, t, declared[task.name], by_key[()])
        found += [_drop(plan, *one, baseline, len(drops)) for one in drops if one[0] == t]
    return tuple(found)


def _bounds(plan: Plan, task: int, gate: Gate, whole: SliceOutcome) -> list[Check]:
    planned = plan.tasks[task]
    metric = planned.metrics[0].name
    own = estimate(whole.interval(task, 0, metric))
    bound, kind = (gate.mse, "ceiling") if planned.regression else (gate.auc, "floor")
    if bound is None:
        return []
    name = _where(planned.name, ())
    if own.value is None:
        reason = f"{name}: {metric} can't be judged, it is undefined: {_classes(whole, task, planned.regression)}"
        return [_check(planned.name, (), kind, metric, own, bound, "unjudged", gate.if_unjudged, reason)]
    holds = own.value <= bound if planned.regression else own.value >= bound
    if holds:
        reason = f"{name}: {metric} is {own.value:.4f}{_ends(own)}, within the gate's {bound:.4f}"
    else:
        side = "above" if planned.regression else "below"
        reason = f"{name}: {metric} is {own.value:.4f}{_ends(own)}, {side} the gate's {bound:.4f}"
    return [_check(planned.name, (), kind, metric, own, bound, "holds" if holds else "fails", "block", reason)]


def _drop(
    plan: Plan, task: int, gate: Gate, one: SliceOutcome, max_drop: float, baseline: Comparison, count: int
) -> Check:
    planned = plan.tasks[task]
    metric, name = planned.metrics[0].name, _where(planned.name, one.key)
    if_unjudged = gate.slices.if_unjudged if one.key and gate.slices else gate.if_unjudged

    def check(what: Estimate, judged: Verdict, reason: str) -> Check:
        return _check(planned.name, one.key, "max_drop", metric, what, max_drop, judged, if_unjudged, reason)

    if baseline.target is None or planned.name in baseline.not_compared:
        why = baseline.not_compared.get(planned.name, "there is no blessed model yet")
        return check(Estimate(None), "not compared", f"{name}: {metric} is compared with no blessed model: {why}")
    raw = one.interval(task, baseline.target, metric)
    found = estimate(raw)
    unjudged = f"{name}: {metric} can't be judged against the blessed model"
    if found.value is None:
        return check(found, "unjudged", f"{unjudged}: {_classes(one, task, planned.regression)}")
    changed = f"{metric} changed by {found.value:+.4f}{_ends(found, '+')} against the blessed model"
    allowed = f"allowed {max_drop if planned.regression else -max_drop:+.4f}"
    if found.value == 0 and raw.standard_error == 0:
        return check(found, "holds", f"{name}: {changed}, {allowed}")
    if found.low is None or _few(one, task, planned.regression):
        return check(found, "unjudged", f"{unjudged}: {_classes(one, task, planned.regression)}")
    better = raw if METRICS[metric].higher_is_better else -raw
    judged = verdict(better, max_drop, count)
    if judged == "unjudged":
        needed = resolvable_half_width(better, max_drop, count)
        return check(
            found,
            judged,
            f"{unjudged}: it changed by {found.value:+.4f}{_ends(found, '+')}, {allowed}; "
            f"that takes an interval of ±{needed:.4f}, this one is ±{better.half_width():.4f}",
        )
    return check(found, judged, f"{name}: {changed}, {allowed}")


def _check(
    task: str,
    key: SliceKey,
    kind,
    metric: str,
    found: Estimate,
    bound: float,
    judged: Verdict,
    if_unjudged: str,
    reason: str,
) -> Check:
    blocks = judged == "fails" or (judged == "unjudged" and if_unjudged == "block")
    return Check(task, key, kind, metric, found, bound, judged, blocks, reason)


def _where(task: str, key: SliceKey) -> str:
    return f"{task}, {slice_text(key)}" if key else task


def _ends(found: Estimate, sign: str = "") -> str:
    return "" if found.low is None or found.high is None else f" [{found.low:{sign}.4f}, {found.high:{sign}.4f}]"


def _few(one: SliceOutcome, task: int, regression: bool) -> bool:
    names = ("users",) if regression else ("positive_users", "negative_users")
    return any(one.count(task, name) < MIN_USERS for name in names)


def _classes(one: SliceOutcome, task: int, regression: bool) -> str:
    if regression:
        return f"{one.count(task, 'users'):,} users, expected at least {MIN_USERS}"
    return (
        f"{one.count(task, 'positive_users'):,} users with a positive and {one.count(task, 'negative_users'):,} with a "
        f"negative, expected at least {MIN_USERS} of each"
    )
