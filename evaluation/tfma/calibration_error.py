"""The expected calibration error, as a TFMA metric."""

from collections.abc import Iterable

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2

from evaluation.metrics.expected_calibration_error import ECE_BINS, calibration_bins


class _Combiner(beam.CombineFn):
    """(sum of score - label by bin, number of examples), both weighted."""

    def __init__(self, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig | None, bins: int):
        self._key, self._eval_config, self._bins = key, eval_config, bins

    def create_accumulator(self) -> tuple[np.ndarray, float]:
        return np.zeros(self._bins), 0.0

    def add_input(
        self, accumulator: tuple[np.ndarray, float], element: metric_types.StandardMetricInputs
    ) -> tuple[np.ndarray, float]:
        gaps, examples = accumulator
        for label, score, weight in metric_util.to_label_prediction_example_weight(
            element,
            eval_config=self._eval_config,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
            example_weighted=bool(self._key.example_weighted),
        ):
            gaps[calibration_bins(score, self._bins)] += (score - label) * weight
            examples += float(weight[0])
        return gaps, examples

    def merge_accumulators(self, accumulators: Iterable[tuple[np.ndarray, float]]) -> tuple[np.ndarray, float]:
        gaps, examples = zip(*accumulators, strict=True)
        return np.sum(gaps, axis=0), sum(examples)

    def extract_output(self, accumulator: tuple[np.ndarray, float]) -> dict[metric_types.MetricKey, float]:
        gaps, examples = accumulator
        return {self._key: float(np.abs(gaps).sum() / examples) if examples else float("nan")}


def _computations(
    name: str,
    bins: int,
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> metric_types.MetricComputations:
    key = metric_types.MetricKey(
        name, model_name=model_name, output_name=output_name, example_weighted=example_weighted
    )
    return [metric_types.MetricComputation(keys=[key], preprocessors=None, combiner=_Combiner(key, eval_config, bins))]


class ExpectedCalibrationError(metric_types.Metric):
    """The mean over examples of |mean score - mean label| of their bin; `bins` of equal width (Guo et al. 2017)."""

    def __init__(self, name: str = "expected_calibration_error", bins: int = ECE_BINS):
        super().__init__(metric_util.merge_per_key_computations(_computations), name=name, bins=bins)
