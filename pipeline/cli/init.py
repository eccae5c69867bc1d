"""The command `fulcrum init`: a first spec from raw logs."""

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.terminal import console, fail

if TYPE_CHECKING:
    from schema.spec import RankingSpec

app = typer.Typer()

# Names and values of the data are no markup, and lines are left to the terminal.
_AS_IT_IS: Any = {"markup": False, "highlight": False, "soft_wrap": True}


@app.command()
def init(
    logs: Annotated[str, typer.Option(help="The folder of the raw logs.")],
    users: Annotated[
        str | None, typer.Option(help="The file of a table of users: here, or in the logs' folder.")
    ] = None,
    items: Annotated[str | None, typer.Option(help="The file of a table of items.")] = None,
    files: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Which files of the folder are the log, such as 'ratings*.csv'."),
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="COLUMN", help="The log's column of the user's id.")] = None,
    item: Annotated[str | None, typer.Option(metavar="COLUMN", help="The log's column of the item's id.")] = None,
    time: Annotated[str | None, typer.Option(metavar="COLUMN", help="The log's column that says when.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A column, or an event, that is feedback to predict (repeat)."),
    ] = None,
    output: Annotated[Path, typer.Option(help="The spec to write.")] = Path("spec.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
) -> None:
    """Write a first spec from raw logs: what each column seems to be, and why, in commented YAML.

    It looks at a sample of the rows. Then read the file, and run it:

        fulcrum init --logs LOGS --output my.yaml
        fulcrum run my.yaml --logs LOGS --output runs/my
    """
    from ingest.check import check
    from ingest.draft.compose import Hints
    from ingest.draft.draft import as_yaml
    from ingest.draft.drafting import draft_spec
    from ingest.errors import IngestError
    from schema.loading import SpecError, load_spec

    if output.exists() and not force:
        raise fail(f"--output {output}: is there already; --force writes over it", 2)
    hints = Hints(user, item, time, tuple(label or ()), files)
    try:
        drafted = draft_spec(_spec_name(output, logs), logs, users, items, hints)
        _write(output, as_yaml(drafted.draft))
        spec = load_spec(output)
    except (IngestError, SpecError) as error:
        raise fail(error, 2) from None
    except OSError as error:
        raise fail(f"--output {output}: can't be written: {error.strerror or error}", 1) from None
    draft = drafted.draft
    console.print(f"{output}: a draft from {draft.about}", **_AS_IT_IS)
    for section, entries in (("tasks", draft.tasks), ("features", draft.features)):
        console.print(f"{section}: {', '.join(entry.value['name'] for entry in entries) or 'none'}", **_AS_IT_IS)
    for where, doubt in draft.doubts:
        console.print(f"unsure: {where}: {doubt}", **_AS_IT_IS)
    for note in drafted.notes:
        console.print(note, **_AS_IT_IS)
    report = check(spec, logs)
    for finding in report.findings:
        if finding.severity != "info":
            console.print(f"{finding.severity}: {finding.where}: {finding.message}", **_AS_IT_IS)
    where = f"{shlex.quote(str(output))} --logs {shlex.quote(logs)}"
    if not report.ok:
        console.print(f"Not fit to run yet. Mend the file, and look again:\n  fulcrum check {where}", **_AS_IT_IS)
        raise typer.Exit(1)
    window = _window(spec, logs) if drafted.days else ""
    console.print(
        f"Read it; then\n  fulcrum check {where}\n  fulcrum run {where}{window} --output runs/{spec.name}",
        **_AS_IT_IS,
    )


def _spec_name(output: Path, logs: str) -> str:
    """Returns the spec's name: that of its file, or of the logs' folder where the file's says nothing."""
    from ingest.draft.words import identifier

    stem = re.sub(r"\W+", "_", output.name.partition(".")[0])
    return identifier(stem if stem != "spec" else os.path.basename(os.path.abspath(logs)))


def _write(output: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f".{output.name}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)


def _window(spec: "RankingSpec", logs: str) -> str:
    from ingest.windows.window import daily_logs

    days = list(daily_logs(spec, logs))
    return f" --window {(days[-1] - days[0]).days + 1}d:{days[-1]}"
