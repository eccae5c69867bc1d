"""Options that several commands share: what the logs are, and where Apache Beam runs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

SpecPath = Annotated[Path, typer.Argument(help="The ranking spec: a YAML file.", show_default=False)]
LogsDir = Annotated[str, typer.Option("--logs", help="The folder (or URI) of the logs that the spec's patterns name.")]
LogWindow = Annotated[
    str | None,
    typer.Option("--window", help="Of logs in daily folders, the last days up to one, such as 7d:2026-11-25."),
]

# As `beam_runners` has them; importing Beam takes too long for a command that only prints its help.
RunnerName = StrEnum("RunnerName", ["local", "flink", "spark", "dataflow"])

Runner = Annotated[RunnerName, typer.Option(help="Where Apache Beam runs; docs/scaling.md says how to choose.")]
Master = Annotated[
    str | None, typer.Option(help="Flink's REST address (HOST:8081) or Spark's master (spark://HOST:7077).")
]
WorkerImage = Annotated[str | None, typer.Option(help="The image that Beam's workers run: the one of the Dockerfile.")]
ArtifactsDir = Annotated[
    str | None, typer.Option(help="A folder that Beam's job server and workers share; Dataflow's temporary location.")
]
BeamArg = Annotated[
    list[str] | None,
    typer.Option(help="Another argument for Apache Beam, such as --beam-arg=--direct_num_workers=2 (repeat)."),
]
