"""TFMA's own evaluator, on the same models, examples and configuration, finds the same values."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import json_format, text_format
from tfx.components.evaluator.executor import Executor
from tfx.types import standard_artifacts

from evaluation.eval_config import eval_config
from schema.example_schema import example_schema
from schema.statistics import Request

EXACT = 1e-6
# TFMA interpolates the AUC between 10,000 thresholds; here it is that of the scores. On the few examples of a slice,
# scores that are closer than two thresholds decide more than that.
INTERPOLATED = 1e-4
# Of the whole split alone: TFMA puts all of a user's examples into every slice that one of them is in.
BY_USER = ("grouped_auc", "ndcg", "mrr")


def by_tfma(spec, folder: Path, examples, candidate, baseline) -> str:
    """Runs TFX's Evaluator; the folder of its evaluation."""
    schema = standard_artifacts.Schema()
    schema.uri = str(folder / "schema")
    Path(schema.uri).mkdir()
    Path(schema.uri, "schema.pbtxt").write_text(text_format.MessageToString(example_schema(spec)))
    outputs = {"evaluation": standard_artifacts.ModelEvaluation(), "blessing": standard_artifacts.ModelBlessing()}
    for name, artifact in outputs.items():
        artifact.uri = str(folder / f"tfma-{name}")
    context = Executor.Context(beam_pipeline_args=["--runner=FnApiRunner"], tmp_dir=str(folder / "tmp"), unique_id="1")
    Executor(context).Do(
        {"examples": [examples], "model": [candidate], "baseline_model": [baseline], "schema": [schema]},
        {name: [artifact] for name, artifact in outputs.items()},
        {
            "eval_config": json_format.MessageToJson(eval_config(spec, ["candidate", "baseline"])),
            "example_splits": '["test"]',
        },
    )
    return outputs["evaluation"].uri


def values(uri: str, model: str) -> Iterator[tuple[tuple, float]]:
    """(slice, task, metric) and value of all that `tfma.load_eval_result` reads."""
    for key, by_output in tfma.load_eval_result(uri, model_name=model).slicing_metrics:
        for task, by_sub_key in by_output.items():
            for metric, value in by_sub_key[""].items():
                number = value["boundedValue"]["value"] if "boundedValue" in value else value.get("doubleValue", "NaN")
                yield (tuple(key), task, metric), float(number)


def test_every_metric_equals_tfmas_on_the_same_data(spec, simulate, save_examples, save_model, evaluate, tmp_path):
    # TFMA takes its time: what is compared is every metric, a crossed slice and one of several values.
    log = spec.log.model_copy(update={"request": Request(gap="60s")})
    slices = (("tags",), ("country", "tab"))
    spec = spec.model_copy(update={"log": log, "tasks": spec.tasks[:3], "slices": slices, "gates": {}})
    columns = simulate(700, 40)
    # Three requests a user, whose starts other users' are too.
    columns.integers["request_start"] = np.arange(700) % 3
    examples = save_examples(columns)
    # The candidate's scores lie further apart than TFMA's thresholds, so that its AUC is exact there too.
    candidate, baseline = save_model("candidate", {"like": 1.0}, steps=1000), save_model("baseline", {"view": 0.5})
    theirs = by_tfma(spec, tmp_path, examples, candidate, baseline)
    ours = evaluate(spec, examples=examples, model=candidate, baseline_model=baseline).evaluation.uri
    compared = set()
    for model in ("candidate", "baseline"):
        # The difference of two counts of the same examples.
        expected = {key: value for key, value in values(theirs, model) if not key[-1].endswith("count_diff")}
        actual = dict(values(ours, model))
        assert actual.keys() == expected.keys()
        for key, value in expected.items():
            key_of_slice, _, metric = key
            interpolated = metric == "auc_diff" or (metric == "auc" and model == "baseline")
            metric = metric.removesuffix("_diff")
            if key_of_slice and (metric in BY_USER or interpolated):
                continue
            compared.add(metric)
            if math.isnan(value):
                assert math.isnan(actual[key]), key
            else:
                assert actual[key] == pytest.approx(value, abs=INTERPOLATED if interpolated else EXACT), key
    assert compared >= {"auc", "grouped_auc", "ndcg", "mrr", "binary_crossentropy", "calibration"}
    assert compared >= {"expected_calibration_error", "mean_squared_error", "mean_absolute_error", "example_count"}
