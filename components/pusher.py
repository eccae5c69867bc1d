"""TFX's Pusher with the folder to push to as a plain property, which a pipeline's parameter may set.

TFX takes the clock for the version: where it goes backwards, or two models come in one second, the newer model would be
the older version, or none. Here versions only rise.
"""

import os
import time
from typing import Any

from tfx import types
from tfx.components.pusher import executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.dsl.io import fileio
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import io_utils


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
    """TFX's executor, but for the version, and for what a failed copy leaves: nothing."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        model, base = self.GetModelPath(input_dict), exec_properties["destination"]
        version = str(next_version(base, int(time.time())))
        destination = os.path.join(base, version)
        push(model, destination)
        io_utils.copy_dir(model, pushed.uri)
        self._MarkPushed(pushed, pushed_destination=destination, pushed_version=version)


def next_version(base: str, now: int) -> int:
    """Returns the version of a model to push: the second `now`, or one more than the newest in the folder `base`."""
    names = [name.rstrip("/") for name in fileio.listdir(base)] if fileio.exists(base) else []
    return max([now, *(int(name) + 1 for name in names if name.isdecimal())])


def push(model: str, destination: str) -> None:
    """Copies a SavedModel; `saved_model.pb`, without which a folder is no model, gets its name once all is written.

    A copy that fails is taken back.
    """
    graph = os.path.join(destination, "saved_model.pb")
    try:
        io_utils.copy_dir(model, destination, deny_regex_patterns=[r"saved_model\.pb"])
        io_utils.copy_file(os.path.join(model, "saved_model.pb"), f"{graph}.part")
        fileio.rename(f"{graph}.part", graph)
    except Exception:
        if fileio.exists(destination):
            fileio.rmtree(destination)
        raise


class Pusher(base_component.BaseComponent):
    """Copies a model that both blessings allow to `destination`, under a new version; half a copy is no model.

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
