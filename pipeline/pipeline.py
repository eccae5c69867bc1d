"""The DAG: from raw logs to a pushed ranker. The same pipeline runs locally and compiles to Kubeflow."""

import hashlib
from pathlib import Path

import tfx.v1 as tfx
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.proto import transform_pb2

from components.anomaly_gate.component import AnomalyGate
from components.evaluation_report.component import EvaluationReport
from components.interaction_example_gen.component import InteractionExampleGen
from components.serving_validator.component import ServingValidator
from pipeline.baseline import LatestComparableModelStrategy
from pipeline.config import RunConfig
from pipeline.evaluation import EVALUATED_SPLIT, eval_config, evaluation_schema
from schema.example_schema import example_schema
from schema.spec import Model, RankingSpec


def create_pipeline(spec: RankingSpec, config: RunConfig) -> tfx.dsl.Pipeline:
    """The components in their order; each gets the part of the spec that it depends on, so that caching is exact."""
    example_gen = InteractionExampleGen(spec, logs=config.logs, fingerprint=config.fingerprint)
    statistics_gen = tfx.components.StatisticsGen(examples=example_gen.outputs["examples"])
    schema_gen = tfx.components.ImportSchemaGen(schema_file=_written(example_schema(spec), config.output))
    example_validator = tfx.components.ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    anomaly_gate = AnomalyGate(anomalies=example_validator.outputs["anomalies"])
    transform = tfx.components.Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn="models.preprocessing.preprocessing_fn",
        custom_config={"spec": _for_transform(spec).to_json()},
        # StatisticsGen has looked at the examples already.
        disable_statistics=True,
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
    )
    transform.add_upstream_node(anomaly_gate)
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
    report = EvaluationReport(
        metadata_path=config.metadata_path,
        evaluation=evaluator.outputs["evaluation"],
        model_run=trainer.outputs["model_run"],
        quarantine=example_gen.outputs["quarantine"],
        statistics=statistics_gen.outputs["statistics"],
        anomalies=example_validator.outputs["anomalies"],
        infra_blessing=serving_validator.outputs["blessing"],
        pushed_model=pusher.outputs["pushed_model"],
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
            transform,
            trainer,
            baseline,
            evaluation_schema_gen,
            evaluator,
            serving_validator,
            pusher,
            report,
        ],
        enable_cache=config.cache,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(config.metadata_path),
        beam_pipeline_args=list(config.beam_args),
    )


def _for_training(spec: RankingSpec) -> RankingSpec:
    return spec.model_copy(update={"slices": (), "gates": {}})


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
