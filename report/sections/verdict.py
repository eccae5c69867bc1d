"""Blessed or not, and why: each check of the gate with what it compared."""

from evaluation.gate import GROUPED
from evaluation.metrics import metric_named
from evaluation.result import Check, CheckKind, Evaluation, slice_text, turned
from report import charts
from report.elements import Block, Cell, Figure, Section, Table, Tone, Verdict
from report.figures import estimate_cell, number, signed, tone_of
from report.material import Material
from report.transfer import TONES, task_transfers, transfer_sentence

_VERDICTS: dict[str, tuple[str, Tone]] = {
    "holds": ("✓ holds", "good"),
    "fails": ("✗ fails", "bad"),
    "unjudged": ("? cannot be judged", "unsure"),
    "not compared": ("– not compared", ""),
}
_CAPTIONS: dict[CheckKind, str] = {
    "max_loss": (
        "The gain over the single-task model in each task’s own metric: right is better. The red tick is as much as "
        "the task may lose. A task fails where its whole interval lies left of the tick."
    ),
    "max_drop": (
        "The difference to the blessed model in each task’s own metric, turned so that right is better; the red tick "
        "is as far as the task may fall. A task passes where its whole interval lies right of the tick."
    ),
}


def verdict(material: Material) -> Verdict:
    """Returns the verdict in a word and a sentence, and what each task gains or loses by sharing."""
    evaluation = material.evaluation
    if evaluation is None:
        return Verdict(
            "No verdict", "The run did not reach an evaluation that can be read.", "unsure", _unfinished(material)
        )
    lead, tasks = transfer_sentence(evaluation), _transfer_cells(evaluation)
    if not evaluation.blessed:
        reasons = evaluation.reasons or ("The gate checked nothing, and a blessing needs a check.",)
        return Verdict("Not blessed", "Nothing was pushed.", "bad", reasons, lead, tasks)
    if material.refused is not None:
        sentence = "Every check of the gate holds, but the model is not fit to be served; nothing was pushed."
        return Verdict("Not fit to be served", sentence, "bad", (material.refused,), lead, tasks)
    pushed = " The model was pushed." if material.pushed else ""
    return Verdict("Blessed", f"{_held(evaluation)}{pushed}", "good", (), lead, tasks)


def _transfer_cells(evaluation: Evaluation) -> list[Cell]:
    """Returns each task with its verdict and its gain over its single-task model, those that lose first."""
    return [
        Cell(
            f"{of_task.task} {of_task.verdict}",
            tone=TONES[of_task.verdict],
            detail=f"{signed(of_task.gain.value)} {estimate_cell(of_task.gain, signs=True).detail}".strip(),
        )
        for of_task in task_transfers(evaluation)
    ]


def section(material: Material) -> Section:
    """Shows the checks one by one."""
    evaluation = material.evaluation
    blocks: list[Block] = []
    if evaluation is None:
        blocks.append("No check was made: there is no evaluation.")
    else:
        blocks.append(_compared(evaluation))
        if checks := _made(evaluation):
            blocks.append(_table(evaluation, checks))
        else:
            blocks.append("The spec asks for no check.")
        blocks += [figure for kind in _CAPTIONS if (figure := _differences(evaluation, kind))]
    blocks += [f"Could not be read: {line}." for line in material.unreadable]
    return Section("checks", "Checks", blocks)


def _held(evaluation: Evaluation) -> str:
    unjudged = [check for check in evaluation.checks if check.verdict == "unjudged"]
    if not unjudged:
        return "Every check of the gate holds."
    tasks = ", ".join(dict.fromkeys(check.task for check in unjudged))
    return f"No check of the gate fails; {len(unjudged)} cannot be judged on this data ({tasks})."


def _unfinished(material: Material) -> list[str]:
    executions = material.lineage.executions if material.lineage else ()
    return [f"{e.stage}: {e.state}" for e in executions if e.state not in ("complete", "cached")]


def _compared(evaluation: Evaluation) -> str:
    baseline = evaluation.model("baseline")
    examples = f"{evaluation.examples:,} examples of the split “{evaluation.split}”"
    if baseline is None:
        return f"Judged on {examples}. There is no blessed model to compare with yet."
    left_out = "".join(f" {task}: {why}." for task, why in baseline.not_compared.items())
    return f"Judged on {examples}, and compared with the latest blessed model on the same users.{left_out}"


def _made(evaluation: Evaluation) -> list[Check]:
    """Returns the checks; without a blessed model those alone that need none: the sentence before has said so."""
    alone = evaluation.model("baseline") is None
    return [
        check
        for check in evaluation.checks
        if not (alone and check.kind == "max_drop" and check.verdict == "not compared" and not check.blocks)
    ]


def _table(evaluation: Evaluation, checks: list[Check]) -> Table:
    rows = []
    for check in checks:
        text, tone = _VERDICTS[check.verdict]
        rows.append(
            [
                Cell(check.task),
                Cell(slice_text(check.slice)),
                Cell(_asked(check)),
                estimate_cell(check.estimate, signs=check.kind not in ("floor", "ceiling")),
                Cell(text + (" – blocks" if check.blocks else ""), tone=tone),
                Cell(check.reason),
            ]
        )
    return Table(
        f"What was compared, with {evaluation.confidence:.0%} intervals over users",
        ("Task", "Slice", "Check", "Found", "Verdict", "In words"),
        rows,
        numeric=("Found",),
    )


def _asked(check: Check) -> str:
    label = metric_named(check.metric).label
    if check.kind == "max_drop":
        return f"{label} may fall behind the blessed model’s by {number(check.bound)}"
    if check.kind == "max_loss":
        return f"{label} may lose {number(check.bound)} against the single-task model’s"
    if check.kind == "min_gain":
        return f"{label} has to gain {number(check.bound)} over the single-task model’s"
    return f"{label} at {'least' if check.kind == 'floor' else 'most'} {number(check.bound)}"


def _differences(evaluation: Evaluation, kind: CheckKind) -> Figure | None:
    rows = []
    for check in evaluation.checks:
        if check.kind == kind and check.estimate.value is not None:
            # What is judged against the single-task model is a gain already.
            better = turned(check.estimate, check.metric) if kind == "max_drop" else check.estimate
            name = check.task if not check.slice else f"{check.task}, {slice_text(check.slice)}"
            if check.metric == GROUPED:
                name = f"{name}, {metric_named(GROUPED).label}"
            rows.append(
                {
                    "name": name,
                    "value": better.value,
                    "low": better.low,
                    "high": better.high,
                    "limit": -check.bound,
                    "tone": tone_of(better),
                }
            )
    return Figure(_CAPTIONS[kind], {"": charts.intervals(rows, "ahead (+) or behind (−)")}) if rows else None
