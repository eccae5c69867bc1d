"""TFX's Trainer with `epochs` and `routing` as properties of their own, which a pipeline's parameter may set."""

from typing import Any

from tfx import types
from tfx.components.trainer import executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import trainer_pb2
from tfx.types import standard_artifacts, standard_component_specs
from tfx.types.component_spec import ExecutionParameter
from tfx.utils import json_utils

from schema.spec import RankingSpec


class TrainerSpec(standard_component_specs.TrainerSpec):
    """What TFX's Trainer takes and gives, and two parameters more."""

    PARAMETERS = {  # noqa: RUF012
        **standard_component_specs.TrainerSpec.PARAMETERS,
        "epochs": ExecutionParameter(type=int, optional=True),
        "routing": ExecutionParameter(type=str, optional=True),
    }


class Executor(executor.GenericExecutor):
    """TFX's executor; `run_fn` gets the spec with the parameters in it."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        config = json_utils.loads(exec_properties["custom_config"])
        spec = RankingSpec.from_json(config["spec"])
        routing = exec_properties.get("routing")
        # A compiled pipeline always gives one, the spec's by default: that one may still be tuned.
        routing = None if routing == spec.model.routing else routing
        spec = spec.with_training(routing=routing, epochs=exec_properties.get("epochs"))
        merged = json_utils.dumps({**config, "spec": spec.to_json()})
        super().Do(input_dict, output_dict, {**exec_properties, "custom_config": merged})


class Trainer(base_component.BaseComponent):
    """Trains by `models.trainer.run_fn`, or another `run_fn` that takes the ranking spec from its `custom_config`.

    A property of a TFX component is set at run time as a whole or not at all, and TFX's own Trainer has all that it
    hands on to `run_fn` in one. Outputs: `model` and `model_run`, as TFX's.
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        spec: RankingSpec,
        examples: types.BaseChannel,
        transform_graph: types.BaseChannel,
        schema: types.BaseChannel,
        base_model: types.BaseChannel | None = None,
        hyperparameters: types.BaseChannel | None = None,
        run_fn: str = "models.trainer.run_fn",
        custom_config: dict[str, Any] | None = None,
        epochs: int | RuntimeParameter | None = None,
        routing: str | RuntimeParameter | None = None,
    ):
        """Declares the step.

        Args:
          base_model: what training starts from (`fn_args.base_model`).
          hyperparameters: what a Tuner chose for the spec's `tuning` (`fn_args.hyperparameters`).
          custom_config: what `run_fn` gets beside `spec`.
          epochs, routing: instead of those of the spec.
        """
        super().__init__(
            TrainerSpec(
                examples=examples,
                transform_graph=transform_graph,
                schema=schema,
                base_model=base_model,
                hyperparameters=hyperparameters,
                train_args=trainer_pb2.TrainArgs(),
                eval_args=trainer_pb2.EvalArgs(),
                run_fn=run_fn,
                custom_config=json_utils.dumps({**(custom_config or {}), "spec": spec.to_json()}),
                epochs=epochs,
                routing=routing,
                model=types.Channel(type=standard_artifacts.Model),
                model_run=types.Channel(type=standard_artifacts.ModelRun),
            )
        )
