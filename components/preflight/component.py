"""Preflight, as a pipeline names it."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.preflight.executor import Executor
from schema.spec import RankingSpec


class PreflightSpec(ComponentSpec):
    """What Preflight takes and gives."""

    INPUTS: dict = {}  # noqa: RUF012
    OUTPUTS = {  # noqa: RUF012
        "baseline_model": ChannelParameter(type=standard_artifacts.Model),
        "base_model": ChannelParameter(type=standard_artifacts.Model),
    }
    PARAMETERS = {  # noqa: RUF012
        "spec": ExecutionParameter(type=str),
        "routings": ExecutionParameter(type=str),
        "logs": ExecutionParameter(type=str),
        "window": ExecutionParameter(type=str),
        "state": ExecutionParameter(type=str),
        "epochs": ExecutionParameter(type=int),
        "routing": ExecutionParameter(type=str),
        "compare_with": ExecutionParameter(type=str),
        "start_from": ExecutionParameter(type=str),
        "push_destination": ExecutionParameter(type=str),
        "beam_args": ExecutionParameter(type=str),
    }


class Preflight(base_component.BaseComponent):
    """Checks the parameters that a run was started with before anything else runs, and fetches the models they name.

    Outputs: `baseline_model`, which the candidate is compared with, and `base_model`, which training starts from.
    Where the parameter is empty, the artifact has the custom property `no_model`.
    """

    SPEC_CLASS = PreflightSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        spec: RankingSpec,
        routings: tuple[str, ...],
        logs: str | RuntimeParameter,
        window: str | RuntimeParameter,
        state: str | RuntimeParameter,
        epochs: int | RuntimeParameter,
        routing: str | RuntimeParameter,
        compare_with: str | RuntimeParameter,
        start_from: str | RuntimeParameter,
        push_destination: str | RuntimeParameter,
        beam_args: str | RuntimeParameter,
    ):
        """Declares the step.

        Args:
          routings: those that there are.
          window, state: as InteractionExampleGen's; an empty window reads all logs at once.
          compare_with, start_from: a SavedModel, a Model artifact, or a folder of versions, of which the newest counts;
            empty for none.
          beam_args: as on a command line.
        """
        super().__init__(
            PreflightSpec(
                spec=spec.to_json(),
                routings=",".join(routings),
                logs=logs,
                window=window,
                state=state,
                epochs=epochs,
                routing=routing,
                compare_with=compare_with,
                start_from=start_from,
                push_destination=push_destination,
                beam_args=beam_args,
                baseline_model=types.Channel(type=standard_artifacts.Model),
                base_model=types.Channel(type=standard_artifacts.Model),
            )
        )
