"""What the parts of a ranking spec must be to each other: names, tables, the log's layout, slices and gates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from schema.columns import label_name
from schema.derived_consistency import derive_problems
from schema.features import FEATURE_KINDS
from schema.served import EXPONENTS, ORDER, SCORE
from schema.statistics import impressions_by_key
from schema.statistics_consistency import statistics_problems

if TYPE_CHECKING:
    from schema.spec import Condition, RankingSpec


# What the served `rank` takes and gives beside the columns and the tasks.
_SERVED = {"features": (EXPONENTS,), "tasks": (SCORE, ORDER)}


def inconsistencies(spec: RankingSpec) -> Iterator[str]:
    """Yields a line for each thing that doesn't fit: where in the spec, what was given, what was expected."""
    yield from _name_problems(spec)
    yield from _feature_problems(spec)
    yield from derive_problems(spec)
    yield from _condition_problems(spec)
    yield from _time_problems(spec)
    yield from statistics_problems(spec)
    yield from _slice_problems(spec)
    yield from _gate_problems(spec)
    yield from _drift_problems(spec)
    yield from _model_problems(spec)
    yield from _training_problems(spec)


def _name_problems(spec: RankingSpec) -> Iterator[str]:
    for section in ("features", "behaviours", "tasks"):
        first: dict[str, int] = {}
        for i, named in enumerate(getattr(spec, section)):
            if named.name in first:
                yield f"{section}[{i}].name: got {named.name!r}, which is {section}[{first[named.name]}]'s already"
            first.setdefault(named.name, i)
            if named.name in _SERVED.get(section, ()):
                yield f"{section}[{i}].name: got {named.name!r}, which the served model's `rank` uses itself; rename it"
    for i, task in enumerate(spec.tasks):
        for longer in spec.tasks:
            if longer.name != task.name and longer.name.startswith(task.name):
                yield (
                    f"tasks[{i}].name: got {task.name!r}, a prefix of the task {longer.name!r}; "
                    "names of metrics and columns would be ambiguous, rename one"
                )


def _feature_problems(spec: RankingSpec) -> Iterator[str]:
    predicted = {task.ratio.numerator if task.ratio else task.column: task.name for task in spec.tasks}
    for i, feature in enumerate(spec.features):
        where = f"features[{i}] ({feature.name})"
        if feature.source != "log" and getattr(spec, feature.source) is None:
            yield f"{where}: `source: {feature.source}` needs the table `{feature.source}`, which is not declared"
        column = feature.source_column
        if feature.source == "log" and not feature.derive and column in predicted:
            yield (
                f"{where}: got the column {column!r}, which task {predicted[column]!r} predicts; "
                "expected one that is known when the impression happens"
            )


def _condition_problems(spec: RankingSpec) -> Iterator[str]:
    conditions: list[tuple[str, Condition]] = []
    for i, task in enumerate(spec.tasks):
        conditions.append((f"tasks[{i}] ({task.name})", task))
        if task.within:
            conditions.append((f"tasks[{i}].within ({task.name})", task.within))
    conditions += [(f"behaviours[{i}] ({behaviour.name})", behaviour) for i, behaviour in enumerate(spec.behaviours)]
    for where, condition in conditions:
        if spec.log.layout == "impressions" and condition.event:
            yield f"{where}: got `event`, which needs layout `events`; in `impressions` feedback is a `column`"
        if spec.log.layout == "events" and not condition.event:
            key = "ratio" if condition.column is None else "column"
            yield f"{where}: got `{key}`, which needs layout `impressions`; in `events` feedback is an `event`"
    for i, task in enumerate(spec.tasks):
        if task.event and task.event == spec.log.impression:
            yield f"tasks[{i}].event: got {task.event!r}, the impression itself; every label would be 1"


def _time_problems(spec: RankingSpec) -> Iterator[str]:
    if spec.split.by == "user" and spec.split.skip:
        yield f"split.skip: got {spec.split.skip}, the first share in time, which `by: user` doesn't split by"
    if spec.log.timestamp.column is not None:
        return
    needs = {
        "log.layout: got `events`, whose feedback is told by its time": spec.log.layout == "events",
        "split: got `by: time`, expected `split: {by: user}`": spec.split.by == "time",
        "behaviours: are what the user did before": bool(spec.behaviours),
        "statistics: count what was before": spec.statistics is not None,
        "log.request: tells lists by their time": spec.log.request is not None,
    }
    needs |= {
        f"features[{i}] ({feature.name}): `derive` is of a time": bool(feature.derive)
        for i, feature in enumerate(spec.features)
    }
    for need, is_there in needs.items():
        if is_there:
            yield f"{need}, and the log has none: log.timestamp.column is missing"


def _slice_problems(spec: RankingSpec) -> Iterator[str]:
    features = [feature.name for feature in spec.features if feature.is_text]
    sliceable = [*features, *impressions_by_key(spec)]
    for i, keys in enumerate(spec.slices):
        for j, key in enumerate(keys):
            if key not in sliceable:
                yield f"slices[{i}][{j}]: got {key!r}, expected {_sliceable(features, spec)}"
            if key in keys[:j]:
                yield f"slices[{i}][{j}]: got {key!r} twice"


def _sliceable(features: list[str], spec: RankingSpec) -> str:
    others = " nor ".join(kind.noun for kind in FEATURE_KINDS.values() if kind.dtype != "string")
    impressions = ", ".join(impressions_by_key(spec)) or "the spec has no `statistics`"
    return f"a feature, neither {others}: {', '.join(features)}; or a statistic's impressions: {impressions}"


def _gate_problems(spec: RankingSpec) -> Iterator[str]:
    tasks = {task.name: task for task in spec.tasks}
    for name, gate in spec.gates.items():
        if name not in tasks:
            yield f"gates.{name}: no such task, expected one of {', '.join(tasks)}"
            continue
        wrong, right, task_type = (
            ("auc", "mse", "regression") if tasks[name].is_regression else ("mse", "auc", "binary task")
        )
        if getattr(gate, wrong) is not None:
            yield f"gates.{name}.{wrong}: {name} is a {task_type}, expected `{right}` or `max_drop`"
        for field in ("grouped_auc", "grouped_max_drop"):
            if tasks[name].is_regression and getattr(gate, field) is not None:
                yield f"gates.{name}.{field}: {name} is a regression, which has no grouped AUC"
        if gate.slices is not None:
            declared = [list(keys) for keys in spec.slices]
            if not declared:
                yield f"gates.{name}.slices: got a gate on slices, but the spec declares no `slices`"
            for i, keys in enumerate(gate.slices.keys):
                if list(keys) not in declared:
                    where = f"gates.{name}.slices.keys[{i}]"
                    yield f"{where}: got {list(keys)}, expected one of the spec's slices: {declared}"


def _drift_problems(spec: RankingSpec) -> Iterator[str]:
    expected = [feature.name for feature in spec.features if feature.kind != "map"] + [
        label_name(task) for task in spec.tasks
    ]
    for name in spec.drift.limits if spec.drift else ():
        if name not in expected:
            yield f"drift.limits: got {name!r}, expected a feature or a task's label: {', '.join(expected)}"


def _model_problems(spec: RankingSpec) -> Iterator[str]:
    names, experts = [task.name for task in spec.tasks], spec.model.task_experts
    if isinstance(experts, dict):
        for name in experts:
            if name not in names:
                yield f"model.task_experts.{name}: no such task, expected one of {', '.join(names)}"
        for name in names:
            if name not in experts:
                yield f"model.task_experts: no expert for task {name!r}, expected a count for each task"
    elif isinstance(experts, tuple) and len(experts) != len(names):
        yield f"model.task_experts: got {len(experts)} counts, expected {len(names)}, one per task: {', '.join(names)}"
    # Of maps only what is derived of them is read.
    features = any(feature.kind != "map" for feature in spec.features)
    if not (features or spec.behaviours or spec.statistics or spec.model.embed_ids):
        yield (
            "model.embed_ids: got [], and there are no features, behaviours or statistics: the model would read "
            "nothing; expected `user_id` or `item_id`"
        )
    yield from _bottom_problems(spec, "dtrn")
    yield from _bottom_problems(spec, "din")


def _bottom_problems(spec: RankingSpec, bottom: Literal["dtrn", "din"]) -> Iterator[str]:
    """Yields what is wrong with a bottom's section, and, where it is the model's or tried, with what it would read."""
    behaviours = [behaviour.name for behaviour in spec.behaviours]
    read = getattr(spec.model, bottom).behaviours or ()
    for i, name in enumerate(read):
        if name not in behaviours:
            declared = ", ".join(behaviours) or "none is declared"
            where = f"model.{bottom}.behaviours[{i}]"
            yield f"{where}: got {name!r}, which has no sequence, expected of `behaviours`: {declared}"
        if name in read[:i]:
            yield f"model.{bottom}.behaviours[{i}]: got {name!r} twice"
    tried = spec.tuning.bottom if spec.tuning else ()
    if bottom != spec.model.bottom and bottom not in tried:
        return
    where = "model.bottom" if bottom == spec.model.bottom else f"tuning.bottom[{tried.index(bottom)}]"
    if not behaviours:
        yield f"{where}: got {bottom!r}, which reads behaviour sequences, expected at least one of `behaviours`"
    if "item_id" not in spec.model.embed_ids and not any(
        feature.source == "items" and not feature.traits.ragged for feature in spec.features
    ):
        yield (
            f"{where}: got {bottom!r}, whose sequences would hold nothing but ages, "
            "expected `item_id` in model.embed_ids or an item feature that is not multi-valued"
        )


def _training_problems(spec: RankingSpec) -> Iterator[str]:
    training = spec.training
    if training.distribution == "multi_worker_mirrored" and spec.tuning:
        yield (
            "training.distribution: got 'multi_worker_mirrored' and `tuning`, whose trials run on one machine; "
            "expected `none` or `mirrored`, or no `tuning`"
        )
    yield from _ranking_loss_problems(spec)
    yield from _tuning_problems(spec)
    with_ids = [feature.name for feature in spec.features if feature.is_text]
    with_ids += [derived.name for derived in spec.derive if derived.cross]
    for i, name in enumerate(training.id_mask_features):
        if name not in with_ids:
            expected = f"a feature that is not numeric: {', '.join(with_ids)}"
            yield f"training.id_mask_features[{i}]: got {name!r}, expected {expected}"


def _tuning_problems(spec: RankingSpec) -> Iterator[str]:
    if spec.tuning is None:
        return
    if spec.tuning.ranking_loss_weight and spec.training.ranking_loss is None:
        yield "tuning.ranking_loss_weight: needs `training.ranking_loss`, which is not declared"
    if len(spec.tuning.ratio_loss) > 1 and spec.training.stop_by == "loss":
        yield (
            "tuning.ratio_loss: got several with `training.stop_by: loss`, by which trials of another loss can't be "
            "compared; expected `stop_by: metrics`"
        )


def _ranking_loss_problems(spec: RankingSpec) -> Iterator[str]:
    loss = spec.training.ranking_loss
    if loss is None:
        return
    if loss.within == "request" and not spec.log.request:
        yield "training.ranking_loss.within: got 'request', which needs `log.request`; expected that, or `user`"
    binary = [task.name for task in spec.tasks if not task.is_regression]
    if not binary:
        yield "training.ranking_loss: no task is binary, expected at least one that it can order"
    for name in loss.tasks:
        if name not in binary:
            what = "a regression" if name in [task.name for task in spec.tasks] else "no such task"
            yield f"training.ranking_loss.tasks.{name}: {what}, expected a binary task: {', '.join(binary) or 'none'}"
