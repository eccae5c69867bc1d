"""SeesawEvaluator, as a pipeline names it."""

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.seesaw_evaluator.executor import Executor
from schema.spec import RankingSpec
from schema.stages import evaluation_part


class SeesawEvaluatorSpec(ComponentSpec):
    """What SeesawEvaluator takes and gives."""

    INPUTS = {  # noqa: RUF012
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
        "reference_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {  # noqa: RUF012
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
    }
    PARAMETERS = {  # noqa: RUF012
        "spec": ExecutionParameter(type=str),
        "split": ExecutionParameter(type=str),
    }


class SeesawEvaluator(BaseBeamComponent):
    """Every task on every slice with intervals, the gain, and the gate that no task may fall through.

    Stands in for TFX's Evaluator, which fans every example out to every slice in Python and whose thresholds know no
    uncertainty. Outputs: `evaluation` (standard ModelEvaluation: TFMA's files, and `result.Evaluation` as JSON) and
    `blessing` (standard ModelBlessing, as Pusher reads it).

    ```python
    evaluator = SeesawEvaluator(spec, examples=gen.outputs["examples"], model=trainer.outputs["model"])
    Pusher(model_blessing=evaluator.outputs["blessing"], …)
    ```
    """

    SPEC_CLASS = SeesawEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        spec: RankingSpec,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        baseline_model: types.BaseChannel | None = None,
        reference_model: types.BaseChannel | None = None,
        split: str = "test",
    ):
        """Declares the step.

        Args:
          examples: raw tf.Examples as ingest writes them.
          model: the candidate.
          baseline_model: what the candidate may not fall behind, usually the latest blessed model; the channel may be
            empty. Tasks that mean something else there are named and not compared.
          reference_model: the single-task model that the gain is taken against.
          split: what to evaluate on.
        """
        super().__init__(
            SeesawEvaluatorSpec(
                spec=evaluation_part(spec).to_json(),
                split=split,
                examples=examples,
                model=model,
                baseline_model=baseline_model,
                reference_model=reference_model,
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
