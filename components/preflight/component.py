"""Preflight, as a pipeline names it."""

from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.preflight.executor import Executor
from components.run_parameters import compiled_parameters
from schema.spec import RankingSpec

_MODELS = [parameter.model for parameter in compiled_parameters() if parameter.model]


class PreflightSpec(ComponentSpec):
    """What Preflight takes and gives."""

    INPUTS: dict = {}  # noqa: RUF012
    OUTPUTS = {name: ChannelParameter(type=standard_artifacts.Model) for name in _MODELS}  # noqa: RUF012
    PARAMETERS = {  # noqa: RUF012
        "spec": ExecutionParameter(type=str),
        "routings": ExecutionParameter(type=str),
        **{parameter.name: ExecutionParameter(type=parameter.type) for parameter in compiled_parameters()},
    }


class Preflight(base_component.BaseComponent):
    """Checks the parameters that a run was started with before anything else runs, and fetches the models they name.

    Outputs: for each parameter that names a model, that model (`Parameter.model`): `baseline_model`, which the
    candidate is compared with, `base_model`, which training starts from, and `reference_base_model`, which the
    reference's does. Where the parameter is empty, the artifact has the custom property `no_model`.
    """

    SPEC_CLASS = PreflightSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        spec: RankingSpec,
        routings: tuple[str, ...],
        parameters: Mapping[str, str | int | float | RuntimeParameter],
    ):
        """Declares the step.

        Args:
          routings: the names that `routing` may have.
          parameters: by name, a value for each of `compiled_parameters`.
        """
        models = {name: types.Channel(type=standard_artifacts.Model) for name in _MODELS}
        super().__init__(PreflightSpec(spec=spec.to_json(), routings=",".join(routings), **parameters, **models))
