"""Prints a run's summary: data, tasks, verdict, places. Values of the data are printed as they are, never as markup."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.evaluation import EVALUATED_SPLIT
from pipeline.summary import RunSummary


def render(summary: RunSummary, console: Console) -> None:
    """Prints the summary as tables; slice values and paths are printed as they are, never as markup."""
    if summary.ingest:
        _render_ingest(summary.ingest, console)
    if summary.tasks:
        console.print(_task_table(summary))
    if summary.blessed is None:
        unfinished = [
            f"{stage} ({state})" for stage, state in summary.stages.items() if state not in ("complete", "cached")
        ]
        console.print(f"No verdict: the run did not reach the Evaluator. {', '.join(unfinished)}", markup=False)
    elif summary.blessed:
        compared = (
            f"compared with {summary.baseline}" if summary.baseline else "no comparable blessed model to compare with"
        )
        console.print(f"[bold green]Blessed[/]: every gate of the spec holds ({escape(compared)}).", highlight=False)
    else:
        console.print("[bold red]Not blessed[/], nothing was pushed:")
        for reason in summary.reasons:
            console.print(f"  {reason}", markup=False, highlight=False)
    if summary.refused:
        console.print("[bold red]Not fit to be served[/], nothing was pushed:")
        console.print(f"  {summary.refused}", markup=False, highlight=False)
    for name, place in summary.places.items():
        console.print(f"{name + ':':<18}{place}", markup=False, highlight=False, soft_wrap=True)


def _task_table(summary: RunSummary) -> Table:
    table = Table(title=f"{summary.pipeline}: the {EVALUATED_SPLIT} split, each task in its sample space")
    table.add_column("task")
    for column in ("examples", "metric", "overall", "worst slice", "", "log loss", "calibration", "MAE"):
        table.add_column(column, justify="left" if column in ("metric", "worst slice") else "right")
    for result in summary.tasks:
        metrics = result.metrics
        table.add_row(
            Text(result.task),
            f"{metrics['weighted_example_count']:,.0f}",
            "MSE" if result.regression else "AUC",
            _figure(metrics.get(result.headline)),
            Text(result.worst_slice or "–"),
            _figure(result.worst_value),
            _figure(metrics.get("binary_crossentropy")),
            _figure(metrics.get("calibration"), digits=3),
            _figure(metrics.get("mean_absolute_error")),
        )
    return table


def _figure(value: float | None, digits: int = 4) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def _render_ingest(counts: dict[str, Any], console: Console) -> None:
    for source, read in counts["sources"].items():
        bad = sum(read["quarantined"].values())
        reasons = "; ".join(f"{count:,} × {reason}" for reason, count in read["quarantined"].items())
        line = f"{source}: {read['rows']:,} rows in {read['files']:,} files, {bad:,} quarantined"
        console.print(line + (f" ({reasons})" if reasons else ""), markup=False, highlight=False)
    if counts["unused_events"]:
        unused = ", ".join(f"{count:,} × {name}" for name, count in counts["unused_events"].items())
        console.print(f"events that the spec doesn't use: {unused}", markup=False, highlight=False)
    for task, feedback in counts["feedback"].items():
        line = f"{task}: {feedback['attributed']:,} events label an impression, {feedback['unattributed']:,} label none"
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
