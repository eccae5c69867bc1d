"""The DAG: from raw logs to a pushed ranker. The same pipeline runs locally and compiles to Kubeflow."""

import hashlib
from pathlib import Path

import tfx.v1 as tfx
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components import DistributionValidator
from tfx.proto import transform_pb2

from components.anomaly_gate.component import AnomalyGate
from components.anomaly_gate.drift import DriftGate
from components.interaction_example_gen.component import InteractionExampleGen
from components.serving_validator.component import ServingValidator
from components.transform.component import Transform
from pipeline.baseline import LatestComparableModelStrategy
from pipeline.config import RunConfig
from pipeline.drift import SPLIT_PAIRS, drift_config
from pipeline.evaluation import EVALUATED_SPLIT, eval_config, evaluation_schema
from schema.example_schema import example_schema
from schema.spec import Drift, Model, RankingSpec


def create_pipeline(spec: RankingSpec, config: RunConfig) -> tfx.dsl.Pipeline:
    """The components in their order; each gets the part of the spec that it depends on, so that caching is exact."""
    example_gen = InteractionExampleGen(
        spec, logs=config.logs, fingerprint=config.fingerprint, window=config.window, state=config.state_dir
    )
    statistics_gen = tfx.components.StatisticsGen(examples=example_gen.outputs["examples"])
    schema_gen = tfx.components.ImportSchemaGen(schema_file=_written(example_schema(spec), config.output))
    example_validator = tfx.components.ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    anomaly_gate = AnomalyGate(anomalies=example_validator.outputs["anomalies"])
    drift = _drift_nodes(spec, spec.drift, statistics_gen) if spec.drift else []
    transform = Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn="models.preprocessing.preprocessing_fn",
        custom_config={"spec": _for_transform(spec).to_json()},
        # StatisticsGen has looked at the examples already.
        disable_statistics=True,
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
    )
    for gate in (anomaly_gate, *drift[1:]):
        transform.add_upstream_node(gate)
    trainer = tfx.components.Trainer(
        run_fn="models.trainer.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema_gen.outputs["schema"],
        custom_config={"spec": _for_training(spec).to_json(), "checkpoint_dir": f"{config.output}/checkpoints"},
    )
    baseline = tfx.dsl.Resolver(
        strategy_class=LatestComparableModelStrategy,
        candidate=trainer.outputs["model"],
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("BaselineResolver")
    evaluation_schema_gen = tfx.components.ImportSchemaGen(
        schema_file=_written(evaluation_schema(spec), config.output)
    ).with_id("EvaluationSchemaGen")
    evaluator = tfx.components.Evaluator(
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        schema=evaluation_schema_gen.outputs["schema"],
        eval_config=eval_config(spec),
        example_splits=[EVALUATED_SPLIT],
    )
    serving_validator = ServingValidator(
        spec, model=trainer.outputs["model"], examples=example_gen.outputs["examples"], split=EVALUATED_SPLIT
    )
    # Without `model=`, the Pusher takes the copy with warm-up requests that the infra blessing holds.
    pusher = tfx.components.Pusher(
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=serving_validator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=config.serving_dir(spec))
        ),
    )
    return tfx.dsl.Pipeline(
        pipeline_name=spec.name,
        pipeline_root=f"{config.output}/artifacts",
        components=[
            example_gen,
            statistics_gen,
            schema_gen,
            example_validator,
            anomaly_gate,
            *drift,
            transform,
            trainer,
            baseline,
            evaluation_schema_gen,
            evaluator,
            serving_validator,
            pusher,
        ],
        enable_cache=config.cache,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(config.metadata_path),
        beam_pipeline_args=list(config.beam_args),
    )


def _drift_nodes(spec: RankingSpec, drift: Drift, statistics_gen: tfx.components.StatisticsGen) -> list:
    validator = DistributionValidator(
        statistics=statistics_gen.outputs["statistics"],
        baseline_statistics=statistics_gen.outputs["statistics"],
        config=drift_config(spec, drift),
        include_split_pairs=SPLIT_PAIRS,
    )
    return [validator, DriftGate(anomalies=validator.outputs["anomalies"], action=drift.action)]


def _for_training(spec: RankingSpec) -> RankingSpec:
    return spec.model_copy(update={"slices": (), "gates": {}, "drift": None})


def _for_transform(spec: RankingSpec) -> RankingSpec:
    model = spec.model
    vocabularies = Model(
        min_frequency=model.min_frequency, max_vocabulary=model.max_vocabulary, oov_buckets=model.oov_buckets
    )
    return spec.data_part().model_copy(update={"model": vocabularies})


def _written(schema: schema_pb2.Schema, output: str) -> str:
    """Writes a schema under a name of its content, because the import's cache knows only the path."""
    text = text_format.MessageToString(schema)
    folder = Path(output) / "schema" / hashlib.sha256(text.encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "schema.pbtxt"
    path.write_text(text)
    return str(path)
