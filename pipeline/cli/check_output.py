"""Prints what `fulcrum check` found. Values of the data are printed as they are, never as markup."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest.check_report import CheckReport, TaskSample, UserSample
from ingest.findings import format_time
from pipeline.cli.check_statistics_output import slot_rows, statistic_tables
from schema.columns import ExampleColumn, label_name, space_name
from schema.spec import RankingSpec
from schema.statistics import statistic_of

_STYLE = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_NEWEST = 4
# Numbers of a vector that are shown.
_FIRST = 3
_LONGEST = 60


def render(report: CheckReport, console: Console) -> None:
    """Prints the report: what was read, the tasks, the users' examples, and the findings last."""
    read = ", ".join(
        f"{source} {rows:,} rows of {report.files[source]} file(s)" for source, rows in report.rows.items()
    )
    console.print(Text(f"{report.spec.name}: {report.logs}", style="bold"))
    if read:
        console.print(Text(f"Read {'all: ' if report.complete else 'a sample: '}{read}"))
    if report.period:
        console.print(Text(f"From {report.period[0]} to {report.period[1]}"))
    if report.tasks:
        console.print(_task_table(report.tasks))
    for block in statistic_tables(report):
        console.print(block)
    for user in report.users:
        console.print(_user_table(report, user))
    console.print(_verdict(report))
    for severity in ("error", "warning", "info"):
        for finding in report.findings:
            if finding.severity == severity:
                line = Text(f"{severity}: ", style=_STYLE[severity])
                console.print(
                    line.append(f"{finding.where}: ", style="bold").append(_plain(finding.message), style="default")
                )


def _verdict(report: CheckReport) -> Text:
    count = {severity: sum(finding.severity == severity for finding in report.findings) for severity in _STYLE}
    if not report.ok:
        return Text(f"Not fit to run: {count['error']} errors, {count['warning']} warnings.", style=_STYLE["error"])
    return Text(f"Fit to run: no errors, {count['warning']} warnings.", style="bold green")


def _task_table(tasks: Iterable[TaskSample]) -> Table:
    table = Table(
        "task", "impressions", "in its sample space", "positive or mean", title="Labels", title_justify="left"
    )
    for task in tasks:
        share = task.positive / max(task.in_space, 1)
        labels = f"mean {share:.3f}" if task.is_regression else f"{task.positive:,.0f} ({share:.2%})"
        table.add_row(task.name, f"{task.impressions:,}", f"{task.in_space:,}", labels)
    return table


def _user_table(report: CheckReport, user: UserSample) -> Table:
    title = Text(f"User {_plain(user.user)}: {len(user.examples)} of {user.impressions:,} impressions")
    table = Table("", *[str(i + 1) for i in range(len(user.examples))], title=title, title_justify="left")
    section = ""
    for column in report.columns:
        if column.role == "space":
            continue
        if section and column.role != section:
            table.add_section()
        section = column.role
        if column.role == "statistic":
            for name, *texts in _slot_texts(report.spec, column, user):
                table.add_row(Text(name, style="bold"), *map(Text, texts))
            continue
        values = [_cell_text(report.spec, column, example) for example in user.examples]
        table.add_row(Text(column.name, style="bold"), *map(Text, values))
    return table


def _slot_texts(spec: RankingSpec, column: ExampleColumn, user: UserSample) -> Iterator[tuple[str, ...]]:
    """Yields a row a sum of the statistic: its name, and its numbers in each example."""
    statistic = statistic_of(spec, column.name)
    rows = [list(slot_rows(spec, statistic, example[column.name])) for example in user.examples]
    for of_sum in zip(*rows, strict=True):
        yield of_sum[0][0], *(text for _, text in of_sum)


def _cell_text(spec: RankingSpec, column: ExampleColumn, example: dict[str, Any]) -> str:
    value = _by_position(column, example[column.name])
    if column.role == "label":
        task = next(task for task in spec.tasks if label_name(task) == column.name)
        return _value_text(column, value) if example[space_name(task)] else "outside its space"
    if column.role in ("timestamp", "request"):
        return format_time(spec, value)
    if not column.ragged:
        return _value_text(column, value)
    if not value:
        return "none"
    # Newest last, as in the example.
    more = f"{len(value) - _NEWEST} older, " if len(value) > _NEWEST else ""
    show = _age_text if column.name == f"{column.behaviour}_age_s" else partial(_value_text, column)
    return more + ", ".join(map(show, value[-_NEWEST:]))


def _by_position(column: ExampleColumn, value: Any) -> Any:
    """Returns a column's value; of a sequence of vectors, which is one list, the list of them."""
    if not column.ragged or column.width is None:
        return value
    return [value[start : start + column.width] for start in range(0, len(value), column.width)]


def _age_text(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit} ago"
    return f"{seconds:.0f}s ago"


def _value_text(column: ExampleColumn, value: Any) -> str:
    if isinstance(value, list):
        # All numbers of a vector are missing, or none.
        if value[0] != value[0]:
            return "missing"
        more = f", … {len(value)} numbers" if len(value) > _FIRST else ""
        return f"({', '.join(f'{number:,.6g}' for number in value[:_FIRST])}{more})"
    if value == column.missing or value != value:
        return "missing"
    return (
        f"{value:,.6g}"
        if isinstance(value, float)
        else _plain(text if len(text := str(value)) <= _LONGEST else f"{text[:_LONGEST]}…")
    )


def _plain(text: str) -> str:
    """Replaces the characters that a terminal would obey."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
