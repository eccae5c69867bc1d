"""The executor of Preflight: every parameter looked at, all that is wrong said at once."""

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging
from apache_beam.options.pipeline_options import PipelineOptions
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.preflight.given_models import fetch
from components.preflight.uris import check_readable_by_beam, check_usable_by_tensorflow
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
        spec = RankingSpec.from_json(exec_properties["spec"])
        baseline, base = (artifact_utils.get_single_instance(output_dict[k]) for k in ("baseline_model", "base_model"))
        given = exec_properties
        checks: list[Callable[[], Any]] = [
            lambda: _check_logs(spec, given["logs"], given["window"], given["state"]),
            lambda: _check_training(given),
            lambda: check_usable_by_tensorflow("push_destination", given["push_destination"]),
            lambda: _check_beam(given["beam_args"]),
            lambda: fetch("compare_with", given["compare_with"], baseline),
            lambda: fetch("start_from", given["start_from"], base),
        ]
        problems = [problem for check in checks if (problem := _problem(check))]
        if problems:
            raise ParameterError("\n  ".join(["the run can't be done as it was asked for:", *problems]))
        logging.info("Every parameter can be used.")


def _problem(check: Callable[[], Any]) -> str | None:
    try:
        check()
    except (ValueError, OSError) as error:
        return str(error)
    return None


def _check_logs(spec: RankingSpec, logs: str, window: str, state: str) -> None:
    check_readable_by_beam("logs", logs)
    if window:
        days = Window.parse(window)
        check_readable_by_beam("state", state)
        check_days(logs, daily_logs(spec, logs), days.first, days.last)
        return
    try:
        match_files(spec, logs)
    except IngestError as error:
        raise ValueError(f"logs: {error}") from None


def _check_training(given: Mapping[str, Any]) -> None:
    if given["epochs"] < 1:
        raise ValueError(f"epochs: expected at least 1, got {given['epochs']}")
    routings = given["routings"].split(",")
    if given["routing"] not in routings:
        raise ValueError(f"routing: expected one of {', '.join(routings)}, got {given['routing']!r}")


def _check_beam(text: str) -> None:
    try:
        arguments = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"beam_args: {error}: {text!r}") from None
    try:
        PipelineOptions(arguments).get_all_options()
    except SystemExit:
        # argparse has said on stderr what is wrong.
        raise ValueError(f"beam_args: Beam does not take {text!r}") from None
