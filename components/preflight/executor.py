"""The executor of Preflight: checks every parameter, and says all that is wrong at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.preflight.fetched_models import fetch
from components.run_parameters import Parameter, check_reference_start, compiled_parameters
from ingest.errors import IngestError
from ingest.sources import match_files
from ingest.windows.window import Window, check_days, daily_logs
from schema.spec import RankingSpec


class ParameterError(ValueError):
    """A run was started with parameters that can't be used, a line each."""


class Executor(base_executor.BaseExecutor):
    """Checks the parameters and fetches the models that they name."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the checks.

        Raises:
          ParameterError: with a line for each parameter that is wrong.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        models = {name: artifact_utils.get_single_instance(artifacts) for name, artifacts in output_dict.items()}
        if problems := list(_problems(exec_properties, models)):
            raise ParameterError("\n  ".join(["the run can't be done as it was asked for:", *problems]))
        logging.info("Every parameter can be used.")


def _problems(properties: Mapping[str, Any], models: Mapping[str, types.Artifact]) -> Iterator[str]:
    """Checks each parameter by its declaration, and the logs and the routing by what a run alone knows of them."""
    declared = {parameter.name: parameter for parameter in compiled_parameters()}
    problems = {name: _problem(_check, parameter, properties, models) for name, parameter in declared.items()}
    # Logs can be looked at only where they can be read, and a window only where it is one.
    if not any(problems[name] for name in ("logs", "window", "state")):
        spec = RankingSpec.from_json(properties["spec"])
        problems["logs"] = _problem(_check_logs, spec, properties["logs"], properties["window"])
    if not problems["start_reference_from"]:
        arguments = (RankingSpec.from_json(properties["spec"]), properties, "start_reference_from")
        problems["start_reference_from"] = _problem(check_reference_start, *arguments)
    problems["routing"] = _problem(_check_routing, properties["routing"], properties["routings"].split(","))
    return (problem for problem in problems.values() if problem)


def _problem(check: Callable[..., Any], *arguments: Any) -> str | None:
    try:
        check(*arguments)
    except (ValueError, OSError) as error:
        return str(error)
    return None


def _check(parameter: Parameter, properties: Mapping[str, Any], models: Mapping[str, types.Artifact]) -> None:
    # A pipeline that an earlier version compiled has no parameters of later ones.
    if parameter.name not in properties or (parameter.only_with and not properties[parameter.only_with]):
        return
    value = properties[parameter.name]
    if parameter.model:
        fetch(parameter.name, value, models[parameter.model])
    else:
        parameter.check_value(value, parameter.name)


def _check_logs(spec: RankingSpec, logs: str, window: str) -> None:
    if window:
        days = Window.parse(window)
        check_days(logs, daily_logs(spec, logs), days.first, days.last)
        return
    try:
        match_files(spec, logs)
    except IngestError as error:
        raise ValueError(f"logs: {error}") from None


def _check_routing(routing: str, routings: Sequence[str]) -> None:
    if routing not in routings:
        raise ValueError(f"routing: expected one of {', '.join(routings)}, got {routing!r}")
