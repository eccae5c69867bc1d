"""TFX's Trainer with some of the spec's settings as properties of their own, which a pipeline's parameter may set."""

from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.components.trainer import executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import trainer_pb2
from tfx.types import standard_artifacts, standard_component_specs
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.utils import json_utils, path_utils

from components.run_parameters import compiled_settings
from schema.spec import RankingSpec

REFERENCE_MODEL = "reference_model"


class TrainerSpec(standard_component_specs.TrainerSpec):
    """What TFX's Trainer takes and gives, the single-task reference, and the settings that a run may change."""

    INPUTS = {  # noqa: RUF012
        **standard_component_specs.TrainerSpec.INPUTS,
        REFERENCE_MODEL: ChannelParameter(type=standard_artifacts.Model, optional=True),
    }

    PARAMETERS = {  # noqa: RUF012
        **standard_component_specs.TrainerSpec.PARAMETERS,
        **{setting.name: ExecutionParameter(type=setting.type, optional=True) for setting in compiled_settings()},
    }


class Executor(executor.GenericExecutor):
    """TFX's executor; `run_fn` gets the spec with the run's settings in it, and where the reference's model lies."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        config = json_utils.loads(exec_properties["custom_config"])
        spec = RankingSpec.from_json(config["spec"])
        config["spec"] = with_run_settings(spec, exec_properties).to_json()
        if references := input_dict.get(REFERENCE_MODEL):
            config[REFERENCE_MODEL] = path_utils.serving_model_path(references[0].uri)
        super().Do(input_dict, output_dict, {**exec_properties, "custom_config": json_utils.dumps(config)})


def with_run_settings(spec: RankingSpec, properties: Mapping[str, Any]) -> RankingSpec:
    """Returns the spec with the settings that the properties of an execution have."""
    changed = {}
    for setting in compiled_settings():
        value = properties.get(setting.name)
        # A compiled pipeline always gives a value, the spec's by default: that one may still be tuned.
        if value != getattr(getattr(spec, setting.section), setting.name):
            changed[setting.name] = value
    return spec.with_training(**changed)


class Trainer(base_component.BaseComponent):
    """Trains by a `run_fn` that takes the ranking spec from its `custom_config`.

    A property of a TFX component is set at run time as a whole or not at all, and TFX's own Trainer has all that it
    hands on to `run_fn` in one. Outputs: `model` and `model_run`, as TFX's.
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        spec: RankingSpec,
        run_fn: str,
        examples: types.BaseChannel,
        transform_graph: types.BaseChannel,
        schema: types.BaseChannel,
        base_model: types.BaseChannel | None = None,
        reference_model: types.BaseChannel | None = None,
        hyperparameters: types.BaseChannel | None = None,
        custom_config: dict[str, Any] | None = None,
        settings: Mapping[str, str | int | float | RuntimeParameter] | None = None,
    ):
        """Declares the step.

        Args:
          run_fn: the dotted path of the function that trains.
          base_model: what training starts from (`fn_args.base_model`).
          reference_model: of single task, what the tasks choose from with `routing: auto`.
          hyperparameters: what a Tuner chose for the spec's `tuning` (`fn_args.hyperparameters`).
          custom_config: what `run_fn` gets beside `spec`.
          settings: instead of the spec's, some of `compiled_settings` by name.
        """
        super().__init__(
            TrainerSpec(
                examples=examples,
                transform_graph=transform_graph,
                schema=schema,
                base_model=base_model,
                reference_model=reference_model,
                hyperparameters=hyperparameters,
                train_args=trainer_pb2.TrainArgs(),
                eval_args=trainer_pb2.EvalArgs(),
                run_fn=run_fn,
                custom_config=json_utils.dumps({**(custom_config or {}), "spec": spec.to_json()}),
                **(settings or {}),
                model=types.Channel(type=standard_artifacts.Model),
                model_run=types.Channel(type=standard_artifacts.ModelRun),
            )
        )
