"""The options of the commands that read logs."""

from pathlib import Path
from typing import Annotated

import typer

SpecPath = Annotated[Path, typer.Argument(help="The ranking spec: a YAML file.", show_default=False)]
LogsDir = Annotated[str, typer.Option("--logs", help="The folder (or URI) of the logs that the spec's patterns name.")]
LogWindow = Annotated[
    str | None,
    typer.Option("--window", help="Of logs in daily folders, the last days up to one, such as 7d:2026-11-25."),
]
