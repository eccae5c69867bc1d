"""The same results in TFMA's own format, by TFMA's own writers: `tfma.load_eval_result` reads them."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.api import types as tfma_types
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2, validation_result_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.writers import eval_config_writer, metrics_plots_and_validations_writer

from evaluation.influence import comparisons
from evaluation.metrics import metric_named
from evaluation.metrics.uncertainty import Interval
from evaluation.outcome import SliceOutcome
from evaluation.plan import Plan
from evaluation.result import BASELINE, CANDIDATE, Check, Evaluation, SliceKey

TfmaSlice = tuple[tuple[str, str], ...]


def tfma_slice(key: SliceKey) -> TfmaSlice:
    """Returns the slice as TFMA knows it: its features ordered by name."""
    return tuple(sorted(key))


def tfma_metrics(outcome: SliceOutcome, plan: Plan) -> tuple[TfmaSlice, dict[metric_types.MetricKey, Any]]:
    """Returns one slice's metrics as TFMA's evaluator would, differences too.

    What differs from the single-task reference, for which TFMA has no place, is the metric `<name>_gain`.
    """
    metrics: dict[metric_types.MetricKey, Any] = {
        metric_types.MetricKey("example_count", model_name=model.name): float(outcome.count(0, "rows"))
        for model in plan.models
    }
    for t, task in enumerate(plan.tasks):
        evaluated = plan.models_of(t)
        for m in evaluated:
            key = metric_types.MetricKey(
                "weighted_example_count",
                model_name=plan.models[m].name,
                output_name=task.name,
                example_weighted=True,
            )
            metrics[key] = outcome.weighted_count(t)
        for c, (model, against) in enumerate(comparisons(plan)):
            if model not in evaluated or against not in (None, *evaluated):
                continue
            is_diff = against is not None and plan.models[against].name == BASELINE
            suffix = "_gain" if against is not None and not is_diff else ""
            for metric in task.metrics:
                interval = outcome.interval(t, c, metric.name)
                sign = -1 if suffix and metric.higher_is_better is False else 1
                key = metric_types.MetricKey(
                    metric.name + suffix,
                    model_name=plan.models[model].name,
                    output_name=task.name,
                    example_weighted=True,
                    is_diff=is_diff,
                )
                metrics[key] = _value(interval if sign > 0 else -interval)
    return tfma_slice(outcome.key), metrics


def _value(interval: Interval) -> Any:
    if interval.standard_error != interval.standard_error:
        return interval.value
    return tfma_types.ValueWithTDistribution(
        interval.value, interval.standard_error, int(interval.degrees_of_freedom), interval.value
    )


def validation(evaluation: Evaluation) -> validation_result_pb2.ValidationResult:
    """Returns the gate's verdict; a failure for each check that blocks, its reason as the message."""
    result = validation_result_pb2.ValidationResult(validation_ok=evaluation.blessed)
    details = result.validation_details.slicing_details
    for features in dict.fromkeys(tuple(name for name, _ in check.slice) for check in evaluation.checks):
        matching = {check.slice for check in evaluation.checks if tuple(name for name, _ in check.slice) == features}
        details.add(slicing_spec=config_pb2.SlicingSpec(feature_keys=features), num_matching_slices=len(matching))
    for key in dict.fromkeys(check.slice for check in evaluation.checks if check.blocks):
        by_slice = result.metric_validations_per_slice.add()
        by_slice.slice_key.CopyFrom(slicer_lib.serialize_slice_key(tfma_slice(key)))
        by_slice.failures.extend(_failure(check) for check in evaluation.checks if check.blocks and check.slice == key)
    return result


def _failure(check: Check) -> validation_result_pb2.ValidationFailure:
    failure = validation_result_pb2.ValidationFailure(message=check.reason)
    against_reference = check.kind in ("max_loss", "min_gain")
    key = metric_types.MetricKey(
        check.metric + "_gain" * against_reference,
        model_name=CANDIDATE,
        output_name=check.task,
        example_weighted=True,
        is_diff=check.kind == "max_drop",
    )
    failure.metric_key.CopyFrom(key.to_proto())
    value = check.estimate.value
    failure.metric_value.double_value.value = float("nan") if value is None else value
    threshold = failure.metric_threshold
    if check.kind == "floor":
        threshold.value_threshold.lower_bound.value = check.bound
    elif check.kind == "ceiling":
        threshold.value_threshold.upper_bound.value = check.bound
    elif against_reference:
        threshold.value_threshold.lower_bound.value = check.bound if check.kind == "min_gain" else -check.bound
    else:
        lower_is_better = metric_named(check.metric).higher_is_better is False
        threshold.change_threshold.absolute.value = check.bound if lower_is_better else -check.bound
        threshold.change_threshold.direction = (
            config_pb2.MetricDirection.LOWER_IS_BETTER
            if lower_is_better
            else config_pb2.MetricDirection.HIGHER_IS_BETTER
        )
    return failure


def tfma_plots(
    evaluation: Evaluation,
) -> Iterator[tuple[TfmaSlice, dict[metric_types.PlotKey, metrics_for_slice_pb2.CalibrationHistogramBuckets]]]:
    """Yields the calibration of the whole split, if there is a binary task."""
    plots = {}
    for curve in evaluation.curves:
        key = metric_types.PlotKey("calibration_plot", model_name=curve.model, output_name=curve.task)
        buckets = metrics_for_slice_pb2.CalibrationHistogramBuckets()
        edge = float("-inf")
        for point in curve.calibration:
            bucket = buckets.buckets.add(lower_threshold_inclusive=edge, upper_threshold_exclusive=point.prediction)
            bucket.num_weighted_examples.value = point.examples
            bucket.total_weighted_label.value = point.label * point.examples
            bucket.total_weighted_refined_prediction.value = point.prediction * point.examples
            edge = point.prediction
        plots[key] = buckets
    if plots:
        yield (), plots


def write(
    outcomes: beam.PCollection[SliceOutcome],
    evaluation: beam.PCollection[Evaluation],
    plan: Plan,
    config: config_pb2.EvalConfig,
    uri: str,
    data_location: str,
) -> None:
    """Writes metrics, plots, validations and the configuration into the folder `uri`."""
    outputs = {
        tfma.METRICS_KEY: outcomes | "TfmaMetrics" >> beam.Map(tfma_metrics, plan),
        tfma.PLOTS_KEY: evaluation | "TfmaPlots" >> beam.FlatMap(tfma_plots),
        tfma.VALIDATIONS_KEY: evaluation | "TfmaValidation" >> beam.Map(validation),
    }
    writers = [
        eval_config_writer.EvalConfigWriter(
            uri,
            eval_config=config,
            data_location=data_location,
            model_locations={model.name: model.path for model in plan.models},
        ),
        metrics_plots_and_validations_writer.MetricsPlotsAndValidationsWriter(
            output_paths={key: f"{uri}/{key}" for key in outputs}, eval_config=config
        ),
    ]
    for writer in writers:
        _ = outputs | writer.stage_name >> writer.ptransform
