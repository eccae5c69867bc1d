"""`fulcrum report` and `fulcrum compare`: what past runs found, as pages."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.terminal import console, fail

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
    from pipeline import report as reports

    try:
        path = (None if rebuild else reports.latest(output)) or reports.rebuild(output)
    except reports.NoRunError as error:
        raise fail(error, 2) from None
    except OSError as error:
        raise fail(f"{output}: the report can't be written: {error.strerror or error}", 1) from None
    console.print(str(path), markup=False, highlight=False, soft_wrap=True)
