"""Evaluating as a function: files of examples and SavedModels in, an evaluation out, with no component in between."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from scipy.special import expit

from evaluation import metrics
from evaluation.comparability import serving_path
from evaluation.eval_config import eval_config
from evaluation.evaluate import EvaluationError, Model, evaluate_models
from evaluation.metrics.metric import PerUser, RatioMetric
from evaluation.metrics.task_rows import TaskRows
from evaluation.result import BASELINE, CANDIDATE, Evaluation, gain, read


class Accuracy(RatioMetric):
    """The share of the examples whose label is on the score's side of one half."""

    name = "accuracy"
    label = "accuracy"
    higher_is_better = True
    task_kind = "binary"

    def per_user(self, rows: TaskRows) -> PerUser:
        right = (rows.scores > 0.5) == rows.is_positive
        return PerUser(rows.sum_by_group(right), rows.examples, rows.examples > 0)


@pytest.fixture
def files(examples) -> list[str]:
    return sorted(map(str, Path(examples.uri, "Split-test").iterdir()))


@pytest.fixture
def models(save_model) -> list[Model]:
    uris = {CANDIDATE: save_model("candidate").uri, BASELINE: save_model("baseline", {"like": 2.0}).uri}
    return [Model(name, serving_path(uri), uri) for name, uri in uris.items()]


def test_models_are_evaluated_without_a_component(spec, files, models, columns, tmp_path):
    evaluation = evaluate_models(files, models, spec, output=str(tmp_path))
    assert isinstance(evaluation, Evaluation)
    assert evaluation.examples == len(columns.numbers["label_like"])
    assert [model.uri for model in evaluation.models] == [model.uri for model in models]
    assert gain(evaluation.result("like"), "auc", BASELINE).low > 0
    assert read(str(tmp_path)) == evaluation
    assert tfma.load_eval_result(str(tmp_path), model_name=CANDIDATE).slicing_metrics


def test_nothing_is_left_behind_without_an_output(spec, files, models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert evaluate_models(files, models, spec).split == "test"
    assert sorted(tmp_path.rglob("*")) == before


def test_without_files_there_is_nothing_to_evaluate(spec, models):
    with pytest.raises(EvaluationError, match="the split 'eval' has no files"):
        evaluate_models([], models, spec, "eval")


def test_a_metric_is_one_class_and_one_entry_of_the_list(spec, files, models, columns, tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, Accuracy()))
    evaluation = evaluate_models(files, models, spec, output=str(tmp_path))

    numbers = columns.numbers
    in_space = numbers["space_like"] > 0
    scores = expit(numbers["signal_like"]), expit(numbers["signal_like"] + 2 * numbers["noise_like"])
    plain = [np.mean((score > 0.5)[in_space] == (numbers["label_like"] > 0.5)[in_space]) for score in scores]
    result = evaluation.result("like")
    assert result.metrics["accuracy"][CANDIDATE].value == pytest.approx(plain[0])
    assert result.metrics["accuracy"][BASELINE].value == pytest.approx(plain[1])
    difference = gain(result, "accuracy", BASELINE)
    assert difference.value == pytest.approx(plain[0] - plain[1])
    assert difference.low < difference.value < difference.high
    assert "accuracy" in evaluation.result("view", (("country", "c1"),)).metrics
    # It is none of a regression, nor of TFMA's configuration, which has no class for it; TFMA's files have its values.
    assert "accuracy" not in evaluation.result("completion").metrics
    assert "ccuracy" not in str(eval_config(spec, [CANDIDATE]))
    written = dict(tfma.load_eval_result(str(tmp_path), model_name=CANDIDATE).slicing_metrics)
    assert written[()]["like"][""]["accuracy"]["boundedValue"]["value"] == pytest.approx(plain[0])


def test_a_metric_that_is_unknown_is_named_with_the_known_ones():
    with pytest.raises(KeyError, match=r"expected one of auc, .*, got 'area'"):
        metrics.metric_named("area")
