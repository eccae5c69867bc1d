"""TFX's DistributionValidator, whose executor reads its configuration also where Kubeflow gives it as text."""

from typing import Any

from tfx import components, types
from tfx.components.distribution_validator import executor
from tfx.dsl.components.base import executor_spec
from tfx.proto import distribution_validator_pb2
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import standard_component_specs
from tfx.utils import proto_utils

_CONFIG = standard_component_specs.DISTRIBUTION_VALIDATOR_CONFIG_KEY


class Executor(executor.Executor):
    """TFX's executor takes a message alone, which LocalDagRunner makes of the JSON and a container doesn't."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        config = exec_properties[_CONFIG]
        if isinstance(config, str):
            message = distribution_validator_pb2.DistributionValidatorConfig()
            proto_utils.json_to_proto(config, message)
            config = message
        return super().Do(input_dict, output_dict, {**exec_properties, _CONFIG: config})


class DistributionValidator(components.DistributionValidator):
    """Compares the statistics of splits as its configuration says; see TFX's component for what it takes and gives."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
