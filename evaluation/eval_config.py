"""What is measured and asked for, as TFMA's configuration: its viewers read it, and its own evaluator would run it."""

from collections.abc import Sequence

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from evaluation.gate import gates
from evaluation.result import BASELINE, ModelName
from schema.columns import USER_ID, label_name, space_name
from schema.served import SERVING_DEFAULT
from schema.spec import Gate, RankingSpec, Task

# TFMA's metric classes by task kind; those by user come from a module that TFMA imports by its name.
_BINARY = ("AUC", "BinaryCrossEntropy", "Calibration", "WeightedExampleCount")
_REGRESSION = ("MeanSquaredError", "MeanAbsoluteError", "WeightedExampleCount")
_BY_USER = ("GroupedAUC", "UserNDCG", "UserMRR")
_BY_USER_MODULE = "evaluation.tfma.user_ranking"
_CALIBRATION_ERROR = config_pb2.MetricConfig(
    class_name="ExpectedCalibrationError", module="evaluation.tfma.calibration_error"
)


def eval_config(spec: RankingSpec, models: Sequence[ModelName]) -> config_pb2.EvalConfig:
    """Every task on every slice, in the task's sample space, for the models of these names."""
    model_specs = [
        config_pb2.ModelSpec(
            name=name,
            is_baseline=name == BASELINE,
            signature_name=SERVING_DEFAULT,
            model_type=tfma.constants.TF_GENERIC,
            label_keys={task.name: label_name(task) for task in spec.tasks},
            example_weight_keys={task.name: space_name(task) for task in spec.tasks},
        )
        for name in models
    ]
    declared = gates(spec)
    slices = [config_pb2.SlicingSpec(), *(config_pb2.SlicingSpec(feature_keys=keys) for keys in spec.slices)]
    metrics = [_metrics(task, declared[task.name], BASELINE in models) for task in spec.tasks]
    binary = [task.name for task in spec.tasks if not task.is_regression]
    if binary:
        by_user = [config_pb2.MetricConfig(class_name=name, module=_BY_USER_MODULE) for name in _BY_USER]
        metrics.append(config_pb2.MetricsSpec(output_names=binary, query_key=USER_ID, metrics=by_user))
    example_count = config_pb2.MetricsSpec(metrics=[config_pb2.MetricConfig(class_name="ExampleCount")])
    return config_pb2.EvalConfig(model_specs=model_specs, slicing_specs=slices, metrics_specs=[*metrics, example_count])


def _metrics(task: Task, gate: Gate, has_baseline: bool) -> config_pb2.MetricsSpec:
    names = _REGRESSION if task.is_regression else _BINARY
    threshold = _threshold(task, gate, has_baseline)
    # Without a slicing spec of its own, a threshold would hold for every slice, the smallest ones too.
    overall = config_pb2.PerSliceMetricThreshold(slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold)
    gated = names[0] if threshold.ByteSize() else ""
    metrics = [
        config_pb2.MetricConfig(class_name=name, per_slice_thresholds=[overall] if name == gated else [])
        for name in names
    ]
    return config_pb2.MetricsSpec(
        output_names=[task.name], metrics=metrics if task.is_regression else [*metrics, _CALIBRATION_ERROR]
    )


def _threshold(task: Task, gate: Gate, has_baseline: bool) -> config_pb2.MetricThreshold:
    """The bound itself, and how far the metric may fall behind the baseline's, by value: TFMA's know no interval."""
    threshold = config_pb2.MetricThreshold()
    if task.is_regression and gate.mse is not None:
        threshold.value_threshold.upper_bound.value = gate.mse
    if not task.is_regression and gate.auc is not None:
        threshold.value_threshold.lower_bound.value = gate.auc
    if has_baseline and gate.max_drop is not None:
        change = threshold.change_threshold
        lower_is_better = task.is_regression
        change.direction = config_pb2.LOWER_IS_BETTER if lower_is_better else config_pb2.HIGHER_IS_BETTER
        change.absolute.value = gate.max_drop if lower_is_better else -gate.max_drop
    return threshold
