"""EvaluationReport, as a pipeline names it."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Quarantine, Report
from components.evaluation_report.executor import Executor


class EvaluationReportSpec(ComponentSpec):
    """What EvaluationReport takes and gives."""

    INPUTS = {  # noqa: RUF012
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation, optional=True),
        "model_run": ChannelParameter(type=standard_artifacts.ModelRun, optional=True),
        "quarantine": ChannelParameter(type=Quarantine, optional=True),
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics, optional=True),
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies, optional=True),
        "drift": ChannelParameter(type=standard_artifacts.ExampleAnomalies, optional=True),
        "infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing, optional=True),
        "pushed_model": ChannelParameter(type=standard_artifacts.PushedModel, optional=True),
    }
    OUTPUTS = {  # noqa: RUF012
        "report": ChannelParameter(type=Report),
    }
    PARAMETERS = {  # noqa: RUF012
        "metadata_path": ExecutionParameter(type=str, optional=True),
    }


class EvaluationReport(base_component.BaseComponent):
    """Writes what a run found as one HTML page: the verdict, tasks, slices, curves, training, data and lineage.

    Output: `report`, a folder with `index.html`. Each input that is left out leaves its section with a sentence.

    ```python
    EvaluationReport(evaluation=evaluator.outputs["evaluation"], model_run=trainer.outputs["model_run"], …)
    ```
    """

    SPEC_CLASS = EvaluationReportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, metadata_path: str | None = None, **inputs: types.BaseChannel):
        """Declares the step.

        Args:
          metadata_path: the SQLite file of ML Metadata, from which the lineage is read; None where there is no such
            file, as on Kubeflow: the page then names its inputs only.
          inputs: channels by the names of `EvaluationReportSpec.INPUTS`.

        Raises:
          ValueError: an input of another name.
        """
        if unknown := set(inputs) - set(EvaluationReportSpec.INPUTS):
            expected = ", ".join(EvaluationReportSpec.INPUTS)
            raise ValueError(f"inputs: expected some of {expected}, got {', '.join(sorted(unknown))}")
        super().__init__(EvaluationReportSpec(metadata_path=metadata_path, report=types.Channel(type=Report), **inputs))
