"""What the Evaluator measures and what a model must reach: TFMA's configuration, derived from the spec."""

import tensorflow_model_analysis as tfma
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_model_analysis.proto import config_pb2

from schema.columns import label_name, space_name
from schema.example_schema import example_schema
from schema.spec import Gate, RankingSpec, Task

# Early stopping picks the epoch on `eval`; what decides the blessing has to be data that training never looked at.
EVALUATED_SPLIT = "test"

# TFMA's metric classes, and the names under which it reports them. All are weighted by the task's sample space.
BINARY_METRICS = {
    "AUC": "auc",
    "BinaryCrossEntropy": "binary_crossentropy",
    "Calibration": "calibration",
    "WeightedExampleCount": "weighted_example_count",
}
REGRESSION_METRICS = {
    "MeanSquaredError": "mean_squared_error",
    "MeanAbsoluteError": "mean_absolute_error",
    "WeightedExampleCount": "weighted_example_count",
}
# A blessing needs a threshold: where the spec has no gate for a binary task, it must at least beat chance.
CHANCE = Gate(auc=0.5)


def eval_config(spec: RankingSpec) -> config_pb2.EvalConfig:
    """Every task on every slice, in the task's sample space, against the candidate and the blessed baseline."""
    models = [
        config_pb2.ModelSpec(
            name=name,
            is_baseline=is_baseline,
            signature_name="serving_default",
            model_type=tfma.constants.TF_GENERIC,
            label_keys={task.name: label_name(task) for task in spec.tasks},
            example_weight_keys={task.name: space_name(task) for task in spec.tasks},
        )
        for name, is_baseline in ((tfma.constants.CANDIDATE_KEY, False), (tfma.constants.BASELINE_KEY, True))
    ]
    slices = [config_pb2.SlicingSpec(), *(config_pb2.SlicingSpec(feature_keys=keys) for keys in spec.slices)]
    return config_pb2.EvalConfig(
        model_specs=models,
        slicing_specs=slices,
        metrics_specs=[_metrics(task, spec.gates.get(task.name)) for task in spec.tasks],
    )


def evaluation_schema(spec: RankingSpec) -> schema_pb2.Schema:
    """The columns that TFMA itself reads: labels, sample spaces and slice keys.

    The model gets the serialised examples. What else the schema named, TFMA would take apart example by example;
    ragged sequences took three quarters of the evaluation's time.
    """
    schema = example_schema(spec)
    read = {name for task in spec.tasks for name in (label_name(task), space_name(task))}
    read |= {name for keys in spec.slices for name in keys}
    kept = schema_pb2.Schema(feature=[feature for feature in schema.feature if feature.name in read])
    for name, group in schema.tensor_representation_group.items():
        for column, representation in group.tensor_representation.items():
            if column in read:
                kept.tensor_representation_group[name].tensor_representation[column].CopyFrom(representation)
    return kept


def _metrics(task: Task, gate: Gate | None) -> config_pb2.MetricsSpec:
    names = REGRESSION_METRICS if task.is_regression else BINARY_METRICS
    # Without a slicing spec of its own, a threshold would hold for every slice, the smallest ones too.
    overall = config_pb2.PerSliceMetricThreshold(
        slicing_specs=[config_pb2.SlicingSpec()], threshold=_threshold(task, gate or CHANCE)
    )
    gated = "MeanSquaredError" if task.is_regression else "AUC"
    return config_pb2.MetricsSpec(
        output_names=[task.name],
        metrics=[
            config_pb2.MetricConfig(class_name=name, per_slice_thresholds=[overall] if name == gated else [])
            for name in names
        ],
    )


def _threshold(task: Task, gate: Gate) -> config_pb2.MetricThreshold:
    """The bound itself, and how far the metric may fall behind the baseline's (`max_drop`, absolute)."""
    threshold = config_pb2.MetricThreshold()
    if task.is_regression and gate.mse is not None:
        threshold.value_threshold.upper_bound.value = gate.mse
    if not task.is_regression:
        threshold.value_threshold.lower_bound.value = gate.auc if gate.auc is not None else CHANCE.auc
    if gate.max_drop is not None:
        change = threshold.change_threshold
        if task.is_regression:
            change.direction = config_pb2.MetricDirection.LOWER_IS_BETTER
            change.absolute.value = gate.max_drop
        else:
            change.direction = config_pb2.MetricDirection.HIGHER_IS_BETTER
            change.absolute.value = -gate.max_drop
    return threshold
