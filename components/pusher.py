"""TFX's Pusher with the folder to push to as a plain property, which a pipeline's parameter may set."""

from typing import Any

from tfx import types
from tfx.components.pusher import executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts, standard_component_specs
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import proto_utils


class PusherSpec(ComponentSpec):
    """What Pusher takes and gives."""

    INPUTS = {  # noqa: RUF012
        "model_blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing),
    }
    OUTPUTS = {  # noqa: RUF012
        "pushed_model": ChannelParameter(type=standard_artifacts.PushedModel),
    }
    PARAMETERS = {  # noqa: RUF012
        "destination": ExecutionParameter(type=str),
    }


class Executor(executor.Executor):
    """TFX's executor, told in its own way where to push to."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        folder = pusher_pb2.PushDestination.Filesystem(base_directory=exec_properties["destination"])
        destination = proto_utils.proto_to_json(pusher_pb2.PushDestination(filesystem=folder))
        super().Do(
            input_dict, output_dict, {standard_component_specs.PUSH_DESTINATION_KEY: destination, **exec_properties}
        )


class Pusher(base_component.BaseComponent):
    """Copies a model that both blessings allow to `destination`, under a new version, `saved_model.pb` last.

    The model is the copy with warm-up requests that the infra blessing holds. Output: `pushed_model`, as TFX's.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self, model_blessing: types.BaseChannel, infra_blessing: types.BaseChannel, destination: str | RuntimeParameter
    ):
        """Declares the step.

        Args:
          destination: the folder of the model's versions, a path or a URI.
        """
        super().__init__(
            PusherSpec(
                model_blessing=model_blessing,
                infra_blessing=infra_blessing,
                destination=destination,
                pushed_model=types.Channel(type=standard_artifacts.PushedModel),
            )
        )
