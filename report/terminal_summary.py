"""Prints a run's summary: data, tasks, verdict, places. Values of the data are printed as they are, never as markup."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from evaluation.metrics import metric_named
from evaluation.result import (
    BASELINE,
    CANDIDATE,
    Check,
    Estimate,
    Evaluation,
    SliceResult,
    Task,
    gain,
    slice_text,
)
from report.elements import Tone
from report.summary import RunSummary
from report.transfer import TONES, task_transfers, transfer_sentence
from schema.modelling import WATCHED

_STYLES: dict[Tone, str] = {"bad": "red", "unsure": "yellow", "": "", "good": "green"}
# Slices with fewer examples in a task's sample space say little about the worst one.
MIN_SLICE_EXAMPLES = 100


def render(summary: RunSummary, console: Console) -> None:
    """Prints the summary, what sharing does to the tasks first; values and paths are printed as they are, no markup."""
    if summary.evaluation:
        _render_transfers(summary.evaluation, console)
        if task_transfers(summary.evaluation) and summary.base_model and not summary.reference_base_model:
            line = f"  not by sharing alone: the model started from {summary.base_model}, its single-task models anew"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if summary.ingest:
        _render_ingest(summary.ingest, console)
    if summary.trials:
        console.print(_tuned(summary), markup=False, highlight=False)
    if summary.evaluation:
        console.print(_task_table(summary.pipeline, summary.evaluation))
    if summary.blessed is None:
        unfinished = [
            f"{stage} ({state})" for stage, state in summary.stages.items() if state not in ("complete", "cached")
        ]
        console.print(f"No verdict: the run did not reach the Evaluator. {', '.join(unfinished)}", markup=False)
    else:
        _render_verdict(summary, console)
    if summary.refused:
        console.print("[bold red]Not fit to be served[/], nothing was pushed:")
        console.print(f"  {summary.refused}", markup=False, highlight=False)
    for name, location in summary.places.items():
        console.print(f"{name + ':':<18}{location}", markup=False, highlight=False, soft_wrap=True)


def _render_transfers(evaluation: Evaluation, console: Console) -> None:
    """Prints which tasks gain and which lose against their single-task models, those that lose first."""
    console.print(transfer_sentence(evaluation), markup=False, highlight=False, soft_wrap=True)
    transfers = task_transfers(evaluation)
    for verdict, tone in TONES.items():
        gains = [
            f"{of_task.task} {_interval(of_task.gain, '+')}" for of_task in transfers if of_task.verdict == verdict
        ]
        if gains:
            line = f"  {verdict + ':':<9} {', '.join(gains)}"
            console.print(line, style=_STYLES[tone], markup=False, highlight=False, soft_wrap=True)


def _tuned(summary: RunSummary) -> str:
    trials = summary.trials
    best, watched = trials[0], WATCHED[summary.stop_by]
    settings = ", ".join(f"{name} {value}" for name, value in best.items() if name not in ("trial_id", "score"))
    return f"tuned: {settings} ({watched} {best['score']:.4f}, the least of {len(trials)} trials)"


def _render_verdict(summary: RunSummary, console: Console) -> None:
    checks = summary.evaluation.checks if summary.evaluation else ()
    compared = f"compared with {summary.baseline}" if summary.baseline else "no blessed model to compare with"
    if summary.blessed:
        console.print(f"[bold green]Blessed[/] ({escape(compared)}).", highlight=False, soft_wrap=True)
    else:
        console.print("[bold red]Not blessed[/], nothing was pushed:")
        if not checks:
            console.print("  the spec has no gate, and a blessing needs one")
    for check in checks:
        if check.blocks:
            console.print(f"  {check.reason}", markup=False, highlight=False, soft_wrap=True)
    # What was let pass without a judgement; "no blessed model" has been said above.
    for check in checks:
        is_first = check.kind == "max_drop" and not summary.baseline
        if not check.blocks and (check.verdict == "unjudged" or (check.verdict == "not compared" and not is_first)):
            console.print(f"  let pass: {check.reason}", markup=False, highlight=False, soft_wrap=True)


def _task_table(pipeline: str, evaluation: Evaluation) -> Table:
    """Returns a line a task: its metric with the interval, the changes, the gate's verdict, the worst slice."""
    others = [model.name for model in evaluation.models if model.name != CANDIDATE]
    title = f"{pipeline}: the {evaluation.split} split, each task in its sample space"
    table = Table(title=f"{title}, {evaluation.confidence:.0%} intervals")
    table.add_column("task")
    headings = {BASELINE: "against the blessed", "reference": "gain over single-task"}
    for column in ("examples", "metric", "overall", *(headings[name] for name in others), "gate", "worst slice", ""):
        table.add_column(column, justify="left" if column in ("metric", "gate", "worst slice") else "right")
    for task in evaluation.tasks:
        overall = evaluation.result(task.name)
        worst = _worst(task, evaluation)
        table.add_row(
            Text(task.name),
            f"{overall.counts.examples:,}",
            metric_named(task.metric).label,
            _interval(overall.metrics[task.metric].get(CANDIDATE)),
            *(_interval(_change(overall, task, name), "+") for name in others),
            _verdict([check for check in evaluation.checks if check.task == task.name]),
            Text(slice_text(worst.slice) if worst else "–"),
            _interval(worst.metrics[task.metric][CANDIDATE]) if worst else "–",
        )
    return table


def _change(result: SliceResult, task: Task, model: Any) -> Estimate | None:
    if model == BASELINE:
        return result.differences[task.metric].get(model)
    return gain(result, task.metric, model)


def _worst(task: Task, evaluation: Evaluation) -> SliceResult | None:
    judgeable = [
        result
        for result in evaluation.slices(task.name)
        if result.counts.examples >= MIN_SLICE_EXAMPLES and result.metrics[task.metric][CANDIDATE].value is not None
    ]
    pick = min if metric_named(task.metric).higher_is_better else max
    return pick(judgeable, key=lambda result: result.metrics[task.metric][CANDIDATE].value or 0.0, default=None)


def _verdict(checks: list[Check]) -> Text:
    """Returns the worst of a task's verdicts."""
    shown = {"fails": "red", "unjudged": "yellow", "not compared": "yellow", "holds": "green"}
    for verdict, style in shown.items():
        if any(check.verdict == verdict for check in checks):
            # A first model is compared with nothing, which is no fault of any task.
            holds = verdict == "not compared" and any(check.verdict == "holds" for check in checks)
            return Text("holds" if holds else verdict, style="green" if holds else style)
    return Text("–")


def _interval(estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None or estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{sign}.4f}"
    return f"{estimate.value:{sign}.4f} ±{(estimate.high - estimate.low) / 2:.4f}"


def _render_ingest(counts: dict[str, Any], console: Console) -> None:
    for source, read in counts["sources"].items():
        bad = sum(read["quarantined"].values())
        reasons = "; ".join(f"{count:,} × {reason}" for reason, count in read["quarantined"].items())
        line = f"{source}: {read['rows']:,} rows in {read['files']:,} files, {bad:,} quarantined"
        console.print(line + (f" ({reasons})" if reasons else ""), markup=False, highlight=False)
        if unused := read.get("unused"):
            by_reason = "; ".join(f"{count:,} × {reason}" for reason, count in unused.items())
            console.print(f"{source}: {sum(unused.values()):,} unused ({by_reason})", markup=False, highlight=False)
    if window := counts.get("window"):
        days = ", ".join(f"{day} {examples:,}" for day, examples in window["examples"].items())
        line = f"window: examples of {days}; {window['carried_rows']:,} rows carried on by earlier runs"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if counts["unused_events"]:
        unused = ", ".join(f"{count:,} × {name}" for name, count in counts["unused_events"].items())
        console.print(f"events that the spec doesn't use: {unused}", markup=False, highlight=False)
    for task, feedback in counts["feedback"].items():
        line = f"{task}: {feedback['attributed']:,} events label an impression, {feedback['unattributed']:,} label none"
        if unripe := feedback.get("unripe"):
            line += f"; {unripe:,} impressions are too young for all of their feedback, and left out (log.unripe)"
        console.print(line, markup=False, highlight=False)
    table = Table(title="examples, and each task's positives in its sample space")
    table.add_column("split")
    table.add_column("examples", justify="right")
    for task in next(iter(counts["splits"].values()))["tasks"]:
        table.add_column(Text(task), justify="right")
    for split, count in counts["splits"].items():
        table.add_row(split, f"{count['examples']:,}", *(_label_share(task) for task in count["tasks"].values()))
    console.print(table)


def _label_share(count: dict[str, float]) -> str:
    rows = count["in_space"]
    if "positives" in count:
        return f"{count['positives']:,.0f} of {rows:,}"
    return f"mean {count['label_sum'] / rows:.3f} of {rows:,}" if rows else "none"
