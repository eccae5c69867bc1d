"""ServingValidator, as a pipeline names it."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.serving_validator.executor import Executor
from schema.spec import RankingSpec, Weight


class ServingValidatorSpec(ComponentSpec):
    """What ServingValidator takes and gives."""

    INPUTS = {  # noqa: RUF012
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {  # noqa: RUF012
        "blessing": ChannelParameter(type=standard_artifacts.InfraBlessing),
    }
    PARAMETERS = {  # noqa: RUF012
        "spec": ExecutionParameter(type=str),
        "split": ExecutionParameter(type=str),
        "num_examples": ExecutionParameter(type=int),
        "candidates": ExecutionParameter(type=int),
        "max_latency_ms": ExecutionParameter(type=float),
        "timeout_s": ExecutionParameter(type=float),
    }


class ServingValidator(base_component.BaseComponent):
    """Blesses a model that TensorFlow Serving would load and that answers real requests right and fast enough.

    Stands in for InfraValidator where there is no Docker (Kubeflow Pipelines v2), and knows a ranker's signatures.
    Output: `blessing`, an InfraBlessing. Of a model that passes it holds a copy with warm-up requests, which Pusher
    takes when it gets no `model`; of one that does not, the custom property `reason`, and Pusher pushes nothing.

    ```python
    validator = ServingValidator(spec, model=trainer.outputs["model"], examples=example_gen.outputs["examples"])
    Pusher(model_blessing=evaluator.outputs["blessing"], infra_blessing=validator.outputs["blessing"], …)
    ```
    """

    SPEC_CLASS = ServingValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        spec: RankingSpec,
        model: types.BaseChannel,
        examples: types.BaseChannel,
        split: str = "test",
        num_examples: int = 200,
        candidates: int = 500,
        max_latency_ms: float = 500.0,
        timeout_s: float = 600.0,
    ):
        """Declares the step.

        Args:
          examples: raw tf.Examples as ingest writes them.
          split: where the requests come from.
          num_examples: how many examples to make requests of.
          candidates: of the `rank` requests that are timed.
          max_latency_ms: what the p99 of these may be: in a warm process, one at a time, without a network.
          timeout_s: after how long a process that still tries the model is killed, and the model refused.

        Raises:
          ValueError: a number is not positive.
        """
        numbers = {
            "num_examples": num_examples,
            "candidates": candidates,
            "max_latency_ms": max_latency_ms,
            "timeout_s": timeout_s,
        }
        for name, number in numbers.items():
            if not number > 0:
                raise ValueError(f"{name}: expected a positive number, got {number}")
        super().__init__(
            ServingValidatorSpec(
                model=model,
                examples=examples,
                spec=serving_part(spec).to_json(),
                split=split,
                num_examples=num_examples,
                candidates=candidates,
                max_latency_ms=float(max_latency_ms),
                timeout_s=float(timeout_s),
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )


def serving_part(spec: RankingSpec) -> RankingSpec:
    """Returns the spec without what requests and answers don't depend on; the model is an input of its own."""
    # The exponents stay: the scores of the answers are checked by them.
    tasks = tuple(task.model_copy(update={"weight": Weight()}) for task in spec.tasks)
    return spec.data_part().model_copy(update={"tasks": tasks})
