"""The executor of SeesawEvaluator: examples and models in, an evaluation and a blessing out."""

from collections.abc import Sequence
from typing import Any

from absl import logging
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from evaluation import importance
from evaluation.comparability import serving_path
from evaluation.evaluate import EvaluationError, Model, evaluate_models
from evaluation.result import BASELINE, CANDIDATE, REFERENCE, Evaluation, ModelName
from evaluation.sampled_importance import sampled_importances
from schema.spec import RankingSpec

# The test split is for the verdict alone: whoever drops an input goes by this one.
IMPORTANCE_SPLIT = "eval"


_INPUTS: dict[ModelName, str] = {CANDIDATE: "model", BASELINE: "baseline_model", REFERENCE: "reference_model"}


class Executor(BaseBeamExecutor):
    """Evaluates the models on one split, and blesses the candidate or says why not."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates the models, writes the evaluation and marks the blessing.

        Raises:
          EvaluationError: the split is empty.
          ScoringError: a model can't score the examples, or its scores are no probabilities.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        spec = RankingSpec.from_json(exec_properties["spec"])
        split = exec_properties["split"]
        models = [
            Model(name, serving_path(model.uri), model.uri)
            for name, key in _INPUTS.items()
            if input_dict.get(key)
            for model in [artifact_utils.get_single_instance(input_dict[key])]
        ]
        evaluation = evaluate_models(
            _files(input_dict["examples"], split),
            models,
            spec,
            split,
            make_pipeline=self._make_beam_pipeline,
            output=artifact_utils.get_single_uri(output_dict["evaluation"]),
        )
        _measure_importances(input_dict, output_dict, spec)
        _bless(evaluation, input_dict, output_dict, exec_properties)


def _files(examples: Sequence[types.Artifact], split: str) -> list[str]:
    uris = artifact_utils.get_split_uris(list(examples), split)
    files = sorted(file for uri in uris for file in fileio.glob(f"{uri}/*"))
    if not files:
        raise EvaluationError(f"the split {split!r} has no files in {', '.join(uris)}")
    return files


def _measure_importances(
    input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]], spec: RankingSpec
) -> None:
    """Writes what the candidate's inputs are worth on the eval split, if there is one, beside the evaluation."""
    examples = input_dict["examples"]
    if not all(IMPORTANCE_SPLIT in artifact_utils.decode_split_names(artifact.split_names) for artifact in examples):
        return
    path = serving_path(artifact_utils.get_single_instance(input_dict["model"]).uri)
    measured = sampled_importances(_files(examples, IMPORTANCE_SPLIT), path, spec, IMPORTANCE_SPLIT)
    if measured is not None:
        importance.write(measured, artifact_utils.get_single_uri(output_dict["evaluation"]))


def _bless(
    evaluation: Evaluation,
    input_dict: dict[str, list[types.Artifact]],
    output_dict: dict[str, list[types.Artifact]],
    exec_properties: dict[str, Any],
) -> None:
    """Marks the blessing as TFX's Evaluator does, for Pusher and the strategies that look for blessed models."""
    blessing = artifact_utils.get_single_instance(output_dict["blessing"])
    for key, uri_property, id_property in (
        ("model", constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY),
        (
            "baseline_model",
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY,
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY,
        ),
    ):
        if input_dict.get(key):
            model = artifact_utils.get_single_instance(input_dict[key])
            blessing.set_string_custom_property(uri_property, model.uri)
            blessing.set_int_custom_property(id_property, model.id)
    if "current_component_id" in exec_properties:
        blessing.set_string_custom_property("component_id", exec_properties["current_component_id"])
    name, value = (
        (constants.BLESSED_FILE_NAME, constants.BLESSED_VALUE)
        if evaluation.blessed
        else (constants.NOT_BLESSED_FILE_NAME, constants.NOT_BLESSED_VALUE)
    )
    reasons = "\n".join(evaluation.reasons)
    io_utils.write_string_file(f"{blessing.uri}/{name}", reasons)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)
    if reasons:
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_BLESSING_MESSAGE_KEY, reasons)
    for check in evaluation.checks:
        logging.info("%s: %s", check.verdict, check.reason)
