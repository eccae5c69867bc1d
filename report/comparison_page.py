"""A comparison of runs as a page, and as tables in the terminal."""

from rich.console import Console
from rich.table import Table as TerminalTable
from rich.text import Text

from evaluation.metrics import metric_named
from evaluation.result import Estimate, SliceKey, Task, gain, slice_text
from report import charts
from report.comparison import ComparedRun, Comparison
from report.elements import Block, Cell, Chart, Figure, Page, Section, Table, Verdict
from report.figures import estimate_cell, gain_cell, tone_of
from report.page import render
from report.sections.seesaw import pairs
from report.transfer import task_transfers, transfer_sentence

_WORDS = {"good": "better", "bad": "worse", "": "no difference told"}
# Slices of a task in the chart and of all tasks in the table: the rest is in the evaluations.
_CHARTED, _LISTED = 15, 300


def findings(comparison: Comparison) -> list[str]:
    """Says of each other run, in a sentence, where it is better than the first one and where worse."""
    sentences = []
    for run in comparison.others:
        if run.name not in comparison.paired:
            sentences.append(
                f"{run.name} was not tested on the same examples as {comparison.first.name}: no difference is taken."
            )
            continue
        tasks: dict[str, list[str]] = {word: [] for word in _WORDS.values()}
        for task in _tasks(comparison, run):
            difference = _gain(comparison, run, task)
            if difference is not None and difference.value is not None:
                tasks[_WORDS[tone_of(difference)]].append(task.name)
        outcomes = "; ".join(f"{word} on {', '.join(names)}" for word, names in tasks.items() if names)
        sentences.append(f"{run.name} against {comparison.first.name}: {outcomes or 'no task in common'}.")
    return sentences


def transfers(comparison: Comparison) -> list[str]:
    """Says of each run, in a sentence, which tasks gain and lose against the single-task reference of that run."""
    sentences = []
    for run in comparison.runs:
        tasks: dict[str, list[str]] = {}
        for of_task in task_transfers(run.evaluation):
            tasks.setdefault(of_task.verdict, []).append(of_task.task)
        named = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in tasks.items())
        sentences.append(f"{run.name}: {transfer_sentence(run.evaluation)}" + (f" {named}." if named else ""))
    return sentences


def page(comparison: Comparison) -> str:
    """Returns the comparison as HTML."""
    names = ", ".join(run.name for run in comparison.runs)
    return render(
        Page(
            title=f"{comparison.first.lineage.pipeline}: {names}",
            subtitle=f"Each run against {comparison.first.name}",
            verdict=Verdict("Which is better on which task", "", "", [*findings(comparison), *transfers(comparison)]),
            sections=[_task_section(comparison), _seesaw(comparison), _slices(comparison), _settings(comparison)],
        )
    )


def print_tables(comparison: Comparison, console: Console) -> None:
    """Prints the tasks and what differs; names of the data are printed as they are, never as markup."""
    for table in (_task_table(comparison), _settings_table(comparison)):
        if table.rows:
            console.print(_in_terminal(table))
    for sentence in (*findings(comparison), *transfers(comparison)):
        console.print(sentence, markup=False, highlight=False)


def _in_terminal(table: Table) -> TerminalTable:
    drawn = TerminalTable(title=Text(table.caption))
    for column in table.columns:
        drawn.add_column(Text(column), justify="right" if column in table.numeric else "left")
    styles = {"good": "green", "bad": "red", "unsure": "yellow", "": ""}
    for row in table.rows:
        drawn.add_row(*(Text(f"{cell.text} {cell.detail}".strip(), style=styles[cell.tone]) for cell in row))
    return drawn


def _tasks(comparison: Comparison, run: ComparedRun) -> tuple[Task, ...]:
    evaluation = comparison.paired.get(run.name, run.evaluation)
    return evaluation.tasks


def _gain(comparison: Comparison, run: ComparedRun, task: Task, key: SliceKey = ()) -> Estimate | None:
    """Returns how much better the run is than the first one; None where they were not compared."""
    evaluation = comparison.paired.get(run.name)
    return gain(evaluation.result(task.name, key), task.metric, "baseline") if evaluation else None


def _all_tasks(comparison: Comparison) -> list[Task]:
    return list({task.name: task for run in comparison.runs for task in run.evaluation.tasks}.values())


def _task_table(comparison: Comparison) -> Table:
    confidence = comparison.first.evaluation.confidence
    values = [run.name for run in comparison.runs]
    gains = [f"{run.name}: gain" for run in comparison.others]
    rows = []
    for task in _all_tasks(comparison):
        cells = [Cell(task.name), Cell(metric_named(task.metric).label)]
        cells += [estimate_cell(_value(run, task)) for run in comparison.runs]
        for run in comparison.others:
            has_task = task.name in {run_task.name for run_task in _tasks(comparison, run)}
            cells.append(gain_cell(_gain(comparison, run, task) if has_task else None))
        rows.append(cells)
    caption = (
        f"Each run on its test split; gains over {comparison.first.name} on the same users, turned so that more is "
        f"better, with {confidence:.0%} intervals"
    )
    return Table(caption, ("Task", "Metric", *values, *gains), rows, numeric=(*values, *gains))


def _value(run: ComparedRun, task: Task) -> Estimate | None:
    try:
        return run.evaluation.result(task.name).metrics[task.metric].get("candidate")
    except KeyError:
        return None


def _task_section(comparison: Comparison) -> Section:
    blocks: list[Block] = [_task_table(comparison)]
    rows = [
        {"name": task.name, "kind": run.name, "value": difference.value, "low": difference.low, "high": difference.high}
        for task in _all_tasks(comparison)
        for run in comparison.others
        if run.name in comparison.paired
        and task in _tasks(comparison, run)
        and (difference := _gain(comparison, run, task)) is not None
        and difference.value is not None
    ]
    if rows:
        caption = f"The gain over {comparison.first.name}, each task in its own metric; right is better."
        blocks.append(Figure(caption, {"": charts.intervals(rows, "gain")}))
    return Section("tasks", "Tasks", blocks)


def _seesaw(comparison: Comparison) -> Section:
    gains = {
        run.name: {task.name: _gain(comparison, run, task) for task in _tasks(comparison, run)}
        for run in comparison.others
        if run.name in comparison.paired
    }
    drawn = pairs(tuple(_all_tasks(comparison)), gains)
    if not drawn:
        return Section("seesaw", "Seesaw", ["No two tasks were compared."])
    caption = (
        f"The gain on one task against the gain on another, with intervals; the axes cross at {comparison.first.name}. "
        "In the shaded corners one task was lifted by sinking the other."
    )
    return Section("seesaw", "Seesaw", [Figure(caption, drawn, "Pair of tasks")])


def _slices(comparison: Comparison) -> Section:
    slice_gains = [
        (run, task, result, difference)
        for run in comparison.others
        if run.name in comparison.paired
        for task in _tasks(comparison, run)
        for result in comparison.paired[run.name].slices(task.name)
        if (difference := gain(result, task.metric, "baseline")) is not None and difference.value is not None
    ]
    if not slice_gains:
        return Section("slices", "Slices", ["No slice was compared."])
    slice_gains.sort(key=lambda entry: entry[3].value or 0.0)
    drawn: dict[str, Chart] = {}
    for task in _all_tasks(comparison):
        rows = [
            {
                "name": slice_text(result.slice),
                "kind": run.name,
                "value": difference.value,
                "low": difference.low,
                "high": difference.high,
            }
            for run, slice_task, result, difference in slice_gains
            if slice_task.name == task.name
        ]
        if rows:
            drawn[task.name] = charts.intervals(rows[:_CHARTED], f"{metric_named(task.metric).label}, gain")
    listed = [
        [
            Cell(slice_text(result.slice)),
            Cell(task.name, detail=metric_named(task.metric).label),
            Cell(run.name),
            gain_cell(difference),
        ]
        for run, task, result, difference in slice_gains[:_LISTED]
    ]
    table = Table(
        f"Slices by the gain over {comparison.first.name}, the furthest behind first",
        ("Slice", "Task", "Run", "Gain"),
        listed,
        numeric=("Gain",),
        sortable=True,
        filter_by="Task",
    )
    return Section("slices", "Slices", [Figure("The slices furthest behind.", drawn, "Task"), table])


def _settings_table(comparison: Comparison) -> Table:
    rows = [[Cell(key), *map(Cell, values)] for key, values in comparison.settings().items()]
    return Table("What the specs say differently", ("Setting", *(run.name for run in comparison.runs)), rows)


def _settings(comparison: Comparison) -> Section:
    table = _settings_table(comparison)
    return Section("settings", "Settings", [table if table.rows else "The specs of the models are the same."])
