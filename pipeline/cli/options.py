"""Options that several commands share: a run's parameters, what the logs are, and where Apache Beam runs."""

import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from components.run_parameters import PARAMETERS, RUN, Parameter, parameter

Command = TypeVar("Command", bound=Callable[..., None])


def with_parameters(command: str) -> Callable[[Command], Command]:
    """Returns a decorator of a function that takes the values of run parameters as `**parameters`.

    In their place typer sees the options of the parameters that `command` has; those that must be given come first.
    """

    def decorate(function: Command) -> Command:
        signature = inspect.signature(function)
        options = [_option(declared, command) for declared in PARAMETERS if command in declared.commands]
        others = [argument for argument in signature.parameters.values() if argument.kind is not argument.VAR_KEYWORD]
        ordered = sorted([*options, *others], key=lambda option: option.default is not option.empty)
        function.__signature__ = signature.replace(parameters=ordered)  # type: ignore[attr-defined]
        return function

    return decorate


def _option(declared: Parameter, command: str) -> inspect.Parameter:
    option = typer.Option(declared.option, min=declared.minimum, help=declared.help_for(command))
    # What `compile` takes are defaults, none of which must be given.
    required = command == RUN and declared.is_required
    is_flag = declared.type is bool
    value: Any = declared.type if required or is_flag else declared.type | None
    return inspect.Parameter(
        declared.name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=inspect.Parameter.empty if required else False if is_flag else None,
        annotation=Annotated[value, option],
    )


def _option_of_run(name: str) -> Any:
    declared = parameter(name)
    return typer.Option(declared.option, help=declared.help_for(RUN))


SpecPath = Annotated[Path, typer.Argument(help="The ranking spec: a YAML file.", show_default=False)]
LogsDir = Annotated[str, _option_of_run("logs")]
LogWindow = Annotated[str | None, _option_of_run("window")]

# As `pipeline.runners.beam` has them; importing Beam takes too long for a command that only prints its help.
RunnerName = StrEnum("RunnerName", ["local", "portable", "flink", "spark", "dataflow"])

Runner = Annotated[RunnerName, typer.Option(help="Where Apache Beam runs; docs/scaling.md says how to choose.")]
Master = Annotated[
    str | None, typer.Option(help="Flink's REST address (HOST:8081) or Spark's master (spark://HOST:7077).")
]
WorkerImage = Annotated[str | None, typer.Option(help="The image that Beam's workers run: the one of the Dockerfile.")]
ArtifactsDir = Annotated[
    str | None, typer.Option(help="A folder that Beam's job server and workers share; Dataflow's temporary location.")
]
JobEndpoint = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="The Beam job server that --runner portable submits to.")
]
WorkerPool = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Where Beam's workers are started, on each machine; instead of containers."),
]
JobServerJar = Annotated[
    str | None, typer.Option(metavar="PATH", help="Flink's or Spark's Beam job server, which is else downloaded.")
]
Parallelism = Annotated[
    int | None, typer.Option(min=1, help="Into how many tasks a stage is divided; with local, how many processes work.")
]
BeamArg = Annotated[
    list[str] | None,
    typer.Option(help="Another argument for Apache Beam, such as --beam-arg=--direct_num_workers=2 (repeat)."),
]
