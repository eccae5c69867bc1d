"""An evaluation made by hand: three tasks, three slices, the blessed and the single-task model beside the candidate."""

import pytest

from evaluation.result import (
    CalibrationPoint,
    Check,
    Counts,
    Curves,
    Estimate,
    Evaluation,
    Model,
    SliceResult,
    Task,
)

SCRIPT = "<script>alert(1)</script>"
_SLICES = ((), (("tab", "home"),), (("tab", SCRIPT),), (("country", "BR"),))
_TASKS = (
    Task("like", False, "auc"),
    Task("share", False, "auc"),
    Task("completion", True, "mean_squared_error"),
)
# The candidate's value on the whole split, and how much more or less it is than the two others'.
_VALUES = {"like": (0.8, 0.01, 0.02), "share": (0.7, -0.02, -0.004), "completion": (0.05, -0.001, 0.002)}


def _estimate(value: float, width: float) -> Estimate:
    return Estimate(value, value - width, value + width)


def _result(task: Task, key: tuple, number: int) -> SliceResult:
    value, to_baseline, to_reference = _VALUES[task.name]
    worse = -0.004 * number
    width = 0.003 * (number + 1)
    models = {
        "candidate": _estimate(value + worse, width),
        "baseline": _estimate(value - to_baseline, width),
        "reference": _estimate(value - to_reference, width),
    }
    differences = {
        "baseline": _estimate(to_baseline + worse, width),
        "reference": _estimate(to_reference + worse, width),
    }
    counts = Counts(2_000 // (number + 1), 300, None if task.regression else 150, None if task.regression else 90)
    return SliceResult(task.name, key, counts, {task.metric: models}, {task.metric: differences})


def _curves(task: str, model: str, lift: float) -> Curves:
    steps = [index / 20 for index in range(21)]
    return Curves(
        task,
        model,
        tuple(CalibrationPoint(200 - 9 * index, step / 2, step / 2 * lift) for index, step in enumerate(steps)),
        tuple((step, step ** (1 / (1 + lift))) for step in steps),
        tuple((step, 1 - 0.7 * step**lift) for step in steps),
    )


_CHECKS = (
    Check(
        "like", (), "floor", "auc", _estimate(0.8, 0.003), 0.65, "holds", False, "like: AUC is 0.8000, at least 0.6500"
    ),
    Check(
        "like",
        (),
        "max_drop",
        "auc",
        _estimate(0.01, 0.003),
        0.005,
        "holds",
        False,
        "like: AUC changed by +0.0100 [+0.0070, +0.0130]",
    ),
    Check(
        "share",
        (),
        "max_drop",
        "auc",
        _estimate(-0.02, 0.003),
        0.005,
        "fails",
        True,
        "share: AUC fell by 0.0200 [0.0170, 0.0230], allowed 0.0050",
    ),
    Check(
        "completion",
        (("tab", SCRIPT),),
        "max_drop",
        "mean_squared_error",
        _estimate(-0.009, 0.02),
        0.002,
        "unjudged",
        False,
        f"completion on tab={SCRIPT}: MSE cannot be judged",
    ),
)


def make_evaluation(
    models: tuple[str, ...] = ("candidate", "baseline", "reference"), blessed: bool = False
) -> Evaluation:
    """The evaluation, of some of its models only if so asked."""

    def kept(by_metric: dict) -> dict:
        return {metric: {n: e for n, e in by_model.items() if n in models} for metric, by_model in by_metric.items()}

    results = [_result(task, key, number) for task in _TASKS for number, key in enumerate(_SLICES)]
    return Evaluation(
        spec="shortvideo",
        split="test",
        confidence=0.95,
        examples=2_000,
        tasks=_TASKS,
        models=tuple(Model(name, f"models/{name}", {}) for name in models),
        results=tuple(SliceResult(r.task, r.slice, r.counts, kept(r.metrics), kept(r.differences)) for r in results),
        curves=tuple(
            _curves(task.name, name, 1 + 0.2 * number)
            for task in _TASKS
            if not task.regression
            for number, name in enumerate(models)
        ),
        checks=tuple(c for c in _CHECKS if c.kind != "max_drop" or "baseline" in models)
        if not blessed
        else _CHECKS[:1],
        blessed=blessed,
    )


@pytest.fixture
def evaluation() -> Evaluation:
    return make_evaluation()
