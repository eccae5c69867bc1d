"""The executor of SeesawEvaluator: examples and models in, an evaluation and a blessing out."""

from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf
from absl import logging
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.seesaw_evaluator import result, tfma_output
from components.seesaw_evaluator.comparability import contract, model_contract, not_compared, serving_path
from components.seesaw_evaluator.conclusion import Subject, conclusion
from components.seesaw_evaluator.eval_config import eval_config
from components.seesaw_evaluator.evaluate import evaluate
from components.seesaw_evaluator.plan import PlannedModel, make_plan
from components.seesaw_evaluator.result import BASELINE, CANDIDATE, REFERENCE, ModelName
from schema.spec import RankingSpec

# Compressed bytes of examples whose scored rows are held together.
_BUCKET_BYTES = 16 << 20
_MIN_BUCKETS = 8


_INPUTS: dict[ModelName, str] = {CANDIDATE: "model", BASELINE: "baseline_model", REFERENCE: "reference_model"}


class EvaluationError(ValueError):
    """There is nothing to evaluate."""


class Executor(BaseBeamExecutor):
    """Evaluates the models on one split, and blesses the candidate or says why not."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates.

        Raises:
          EvaluationError: the split is empty.
          ScoringError: a model can't score the examples, or its scores are no probabilities.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        spec = RankingSpec.from_json(exec_properties["spec"])
        split = exec_properties["split"]
        subjects = [
            _subject(spec, name, artifact_utils.get_single_instance(input_dict[key]))
            for name, key in _INPUTS.items()
            if input_dict.get(key)
        ]
        scored = [one for one in subjects if one.planned.tasks]
        plan = make_plan(spec, tuple(one.planned for one in scored))
        files = _files(input_dict["examples"], split)
        uri = artifact_utils.get_single_uri(output_dict["evaluation"])
        with self._make_beam_pipeline() as pipeline:
            outcomes = evaluate(pipeline, files, plan, _buckets(files))
            whole = outcomes | "AllSlices" >> beam.combiners.ToList()
            evaluation = whole | "Conclude" >> beam.Map(conclusion, spec, plan, subjects, split)
            _ = evaluation | "Write" >> beam.Map(result.write, uri)
            tfma_output.write(
                outcomes,
                evaluation,
                plan,
                eval_config(spec, [one.name for one in plan.models]),
                uri,
                artifact_utils.get_split_uris(input_dict["examples"], split)[0],
            )
        _bless(result.read(uri), input_dict, output_dict, exec_properties)


def _subject(spec: RankingSpec, name: ModelName, model: types.Artifact) -> Subject:
    own = contract(spec)
    missing = {} if name == CANDIDATE else not_compared(own, model_contract(model))
    tasks = frozenset(task.name for task in spec.tasks) - missing.keys()
    return Subject(PlannedModel(name, serving_path(model), tasks), model.uri, missing)


def _files(examples: Sequence[types.Artifact], split: str) -> list[str]:
    uris = artifact_utils.get_split_uris(list(examples), split)
    files = sorted(file for uri in uris for file in fileio.glob(f"{uri}/*"))
    if not files:
        raise EvaluationError(f"the split {split!r} has no files in {', '.join(uris)}")
    return files


def _buckets(files: Sequence[str]) -> int:
    size = sum(tf.io.gfile.stat(file).length for file in files)
    return max(_MIN_BUCKETS, size // _BUCKET_BYTES)


def _bless(
    evaluation: result.Evaluation,
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
