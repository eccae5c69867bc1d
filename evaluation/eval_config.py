"""What is measured and asked for, as TFMA's configuration: its viewers read it, and its own evaluator would run it."""

import json
from collections.abc import Sequence

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from evaluation.gate import gates
from evaluation.metrics import metrics_of
from evaluation.metrics.metric import Metric
from evaluation.plan import list_column
from evaluation.result import BASELINE, ModelName
from schema.columns import USER_ID, label_name, space_name
from schema.served import SERVING_DEFAULT
from schema.spec import Gate, RankingSpec, Task


def eval_config(spec: RankingSpec, models: Sequence[ModelName]) -> config_pb2.EvalConfig:
    """Returns the configuration of every task on every slice, in its sample space, for the models of these names."""
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
        by_user = [_by_list(metric, spec) for metric in metrics_of("binary") if metric.tfma and metric.tfma.by_user]
        metrics.append(config_pb2.MetricsSpec(output_names=binary, query_key=USER_ID, metrics=by_user))
    example_count = config_pb2.MetricsSpec(metrics=[config_pb2.MetricConfig(class_name="ExampleCount")])
    return config_pb2.EvalConfig(model_specs=model_specs, slicing_specs=slices, metrics_specs=[*metrics, example_count])


def _metrics(task: Task, gate: Gate, has_baseline: bool) -> config_pb2.MetricsSpec:
    """Returns the metrics that TFMA takes example by example, its own first; the gate's has the threshold."""
    task_metrics = metrics_of("regression" if task.is_regression else "binary")
    by_example = [metric for metric in task_metrics if metric.tfma and not metric.tfma.by_user]
    gated = task_metrics[0]
    threshold = _threshold(gated, gate, has_baseline)
    configs = {metric.name: _config(metric) for metric in by_example}
    if threshold.ByteSize():
        # Without a slicing spec of its own, a threshold would hold for every slice, the smallest ones too.
        configs[gated.name].per_slice_thresholds.add(slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold)
    of_tfma = [configs[metric.name] for metric in by_example if not configs[metric.name].module]
    of_modules = [configs[metric.name] for metric in by_example if configs[metric.name].module]
    count = config_pb2.MetricConfig(class_name="WeightedExampleCount")
    return config_pb2.MetricsSpec(output_names=[task.name], metrics=[*of_tfma, count, *of_modules])


def _config(metric: Metric) -> config_pb2.MetricConfig:
    assert metric.tfma is not None
    return config_pb2.MetricConfig(class_name=metric.tfma.class_name, module=metric.tfma.module)


def _by_list(metric: Metric, spec: RankingSpec) -> config_pb2.MetricConfig:
    """Returns the configuration of a metric that TFMA hands a user's examples, of which it makes lists."""
    config, lists = _config(metric), list_column(spec)
    config.config = json.dumps({"list_key": lists.column, "list_length": lists.length})
    return config


def _threshold(gated: Metric, gate: Gate, has_baseline: bool) -> config_pb2.MetricThreshold:
    """Returns the bound, and how far the metric may fall behind the baseline's by value: TFMA knows no interval."""
    threshold = config_pb2.MetricThreshold()
    lower_is_better = gated.higher_is_better is False
    if lower_is_better and gate.mse is not None:
        threshold.value_threshold.upper_bound.value = gate.mse
    if not lower_is_better and gate.auc is not None:
        threshold.value_threshold.lower_bound.value = gate.auc
    if has_baseline and gate.max_drop is not None:
        change = threshold.change_threshold
        change.direction = config_pb2.LOWER_IS_BETTER if lower_is_better else config_pb2.HIGHER_IS_BETTER
        change.absolute.value = gate.max_drop if lower_is_better else -gate.max_drop
    return threshold
