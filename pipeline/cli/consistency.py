"""The command `fulcrum consistency`: served requests against the logs that came later."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from pipeline.cli.options import LogsDir, LogWindow, SpecPath
from pipeline.cli.terminal import console, errors, fail

if TYPE_CHECKING:
    from pipeline.online.consistency.report import Consistency, Row

app = typer.Typer()


@app.command()
def consistency(
    spec: SpecPath,
    logs: LogsDir,
    requests: Annotated[Path, typer.Option(help="The file that `fulcrum serve --log-requests` has written.")],
    window: LogWindow = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="The share of a column's values that may differ.")
    ] = 0.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print counts and first differences as one JSON object, and nothing else.")
    ] = False,
) -> None:
    """Make served requests once more of the logs that came later: what differs, in which column, and why.

    Ends with an error where more differs than --tolerance allows, or nothing can be compared.
    """
    from ingest.errors import IngestError
    from pipeline.online.consistency.report import check_consistency
    from schema.loading import SpecError, load_spec

    try:
        with errors.status("reading the logs") as status:
            done = check_consistency(
                load_spec(spec), logs, requests, window, lambda count: status.update(f"{count:,} requests compared")
            )
    except (SpecError, IngestError) as error:
        raise fail(error, 2) from None
    except OSError as error:
        raise fail(f"--requests {requests}: can't be read: {error.strerror or error}", 2) from None
    if as_json:
        typer.echo(json.dumps(done.as_json(tolerance), allow_nan=False))
    else:
        _print(done, tolerance)
    lines, first = done.unreadable
    if not done.requests:
        reason = (
            f"{done.too_new:,} are of days that the logs don't have yet" if done.too_new else first or "it is empty"
        )
        raise fail(f"--requests {requests}: no request can be compared: {reason}", 2)
    if lines:
        errors.print(f"left out {lines:,} lines: {first}", markup=False, highlight=False, soft_wrap=True)
    if done.beyond(tolerance):
        raise typer.Exit(1)


def _print(done: "Consistency", tolerance: float) -> None:
    table = Table(title=f"{done.requests:,} served requests beside the logs", title_justify="left")
    table.add_column("column")
    for name in ("equal", "mismatch", "missing", "extra"):
        table.add_column(name, justify="right")
    table.add_column("why, of the first that differs")
    for row in _shown(done):
        table.add_row(Text(_name(row)), *(f"{count:,}" for count in row.counts.counts.values()), _why(row))
    console.print(table)
    if done.too_new:
        console.print(f"{done.too_new:,} requests are of days that the logs don't have yet", highlight=False)
    beyond = done.beyond(tolerance)
    words = f"{len(beyond):,} columns differ by more than {tolerance:g}" if beyond else "consistent"
    console.print(words, style="red" if beyond else "green", highlight=False)


def _shown(done: "Consistency") -> list["Row"]:
    """Returns what has been compared; of statistics the slots that differ, and of one without these the first."""
    rows: list[Row] = []
    named: set[str] = set()
    differing = {row.part.column.name for row in done.rows if row.counts.different}
    for row in done.rows:
        column = row.part.column.name
        is_slot = row.part.slot is not None
        if not row.counts.total or (is_slot and not row.counts.different and column in differing | named):
            continue
        named.add(column)
        rows.append(row)
    return rows


def _name(row: "Row") -> str:
    """Returns the column's or the slot's name; a slot of a statistic all of which is equal stands for the others."""
    part = row.part
    is_whole = part.slot is not None and not row.counts.different
    return f"{part.column.name} ({part.column.width} slots)" if is_whole else part.name


def _why(row: "Row") -> Text:
    first = row.first
    if first is None:
        return Text("")
    item = "" if first.item is None else f", item {first.item!r}"
    where = f"line {first.line}, user {first.user!r}{item}, {first.time}"
    values = f"served {first.served}; the logs say {first.rebuilt}"
    return Text(f"{first.reason.name}: {first.reason.detail}\n{where}: {values}")
