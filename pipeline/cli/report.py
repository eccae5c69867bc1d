"""`fulcrum report` and `fulcrum compare`: what past runs found, as pages."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.terminal import console, fail

app = typer.Typer()
RunDir = Annotated[Path, typer.Argument(help="The folder of a past run.", show_default=False)]


@app.command()
def report(
    output: RunDir,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make it anew from what the run left behind, with this version's looks.")
    ] = False,
) -> None:
    """Say where the report of the latest run in a folder is; make one if the run did not get so far."""
    from report import runs as reports

    try:
        path = (None if rebuild else reports.latest(output)) or reports.rebuild(output)
    except reports.NoRunError as error:
        raise fail(error, 2) from None
    except OSError as error:
        raise fail(f"{output}: the report can't be written: {error.strerror or error}", 1) from None
    console.print(str(path), markup=False, highlight=False, soft_wrap=True)


@app.command()
def compare(
    outputs: Annotated[list[Path], typer.Argument(help="The folders of two runs or more.", show_default=False)],
    html: Annotated[
        Path | None, typer.Option(help="Where the page goes; by default comparison.html in the last folder.")
    ] = None,
) -> None:
    """Put runs side by side: which is better on which task, with intervals where they were tested on the same examples.

    Each run's model is scored again, with the first run's as its baseline.
    """
    from report.comparison import ComparisonError
    from report.comparison import compare as compare_runs
    from report.comparison_page import page, print_tables
    from report.runs import NoRunError

    try:
        with console.status("scoring the models on the same examples …"):
            comparison = compare_runs(outputs)
    except (NoRunError, ComparisonError, FileNotFoundError) as error:
        raise fail(error, 2) from None
    print_tables(comparison, console)
    file = html or outputs[-1] / "comparison.html"
    try:
        file.write_text(page(comparison), encoding="utf-8")
    except OSError as error:
        raise fail(f"--html {file}: can't be written: {error.strerror or error}", 1) from None
    console.print(f"page: {file}", markup=False, highlight=False, soft_wrap=True)
