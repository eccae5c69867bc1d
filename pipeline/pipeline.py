"""The DAG: from raw logs to a pushed ranker. The same pipeline runs locally and compiles to Kubeflow."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import text_format
from tfx import types
from tfx.components import ExampleValidator, StatisticsGen, Tuner
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import metadata
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import transform_pb2
from tfx.types import standard_artifacts
from tfx.types.channel import Channel

from components.anomaly_check import AnomalyCheck
from components.distribution_validator import DistributionValidator
from components.drift_check import DriftCheck
from components.evaluation_report import EvaluationReport
from components.interaction_example_gen.component import InteractionExampleGen
from components.preflight.component import Preflight
from components.pusher import Pusher
from components.run_parameters import settings_in
from components.schema_source import SchemaSource
from components.seesaw_evaluator.component import SeesawEvaluator
from components.serving_validator.component import ServingValidator
from components.trainer import Trainer
from components.transform.component import Transform
from models.routing import routing_names
from pipeline.baseline import LatestComparableModelStrategy
from pipeline.config import RunConfig
from pipeline.drift import SPLIT_PAIRS, drift_config
from pipeline.warm_start import LatestBlessedPairStrategy
from schema.example_schema import example_schema
from schema.modelling import AUTO_ROUTING, SINGLE_TASK
from schema.spec import Drift, RankingSpec
from schema.stages import evaluation_part, training_part, transform_part

REFERENCE_TRAINER = "ReferenceTrainer"
# Early stopping picks the epoch on `eval`; what decides the blessing has to be data that training never looked at.
EVALUATED_SPLIT = "test"


def create_pipeline(spec: RankingSpec, config: RunConfig) -> Pipeline:
    """Returns the components in order; each gets the part of the spec that it depends on, so that caching is exact."""
    # The tasks choose from a reference, which then has to be in the graph.
    is_auto = spec.chooses_networks
    may_be_auto = spec.model.routing == AUTO_ROUTING
    routings = [name for name in sorted(routing_names()) if may_be_auto or name != AUTO_ROUTING]
    # The parameters of a compiled pipeline name the models of earlier runs; on this machine metadata knows them.
    preflight = Preflight(spec, tuple(routings), config.parameters) if config.parameters else None
    example_gen = InteractionExampleGen(
        spec, logs=config.logs, fingerprint=config.fingerprint, window=config.window, state=config.state_dir
    )
    if preflight:
        example_gen.add_upstream_node(preflight)
    statistics_gen = StatisticsGen(examples=example_gen.outputs["examples"])
    schema_source = SchemaSource(text=text_format.MessageToString(example_schema(spec)))
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_source.outputs["schema"]
    )
    anomaly_gate = AnomalyCheck(anomalies=example_validator.outputs["anomalies"])
    drift = _drift_nodes(spec, spec.drift, statistics_gen) if spec.drift else []
    transform = Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_source.outputs["schema"],
        preprocessing_fn="models.preprocessing.preprocessing_fn",
        custom_config={"spec": transform_part(spec).to_json()},
        # StatisticsGen has looked at the examples already.
        disable_statistics=True,
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
    )
    for gate in (anomaly_gate, *drift[1:]):
        transform.add_upstream_node(gate)

    tuner = None
    if spec.tuning:
        tuner = Tuner(
            examples=transform.outputs["transformed_examples"],
            transform_graph=transform.outputs["transform_graph"],
            tuner_fn="models.tuner.tuner_fn",
            custom_config={"spec": training_part(spec).to_json(), "checkpoint_dir": config.checkpoint_dir},
        )

    def trainer_of(
        spec: RankingSpec,
        settings: Mapping[str, RuntimeParameter],
        base_model: types.BaseChannel | None = None,
        reference_model: types.BaseChannel | None = None,
    ) -> Trainer:
        return Trainer(
            training_part(spec),
            run_fn="models.trainer.run_fn",
            examples=transform.outputs["transformed_examples"],
            transform_graph=transform.outputs["transform_graph"],
            schema=schema_source.outputs["schema"],
            base_model=base_model,
            reference_model=reference_model,
            hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
            custom_config={"checkpoint_dir": config.checkpoint_dir},
            settings=settings,
        )

    warm_start = _warm_start_resolver() if config.warm_start else None
    base, reference_base = _started_from(preflight, warm_start)
    settings = settings_in(config.parameters or {})
    reference = None
    if spec.trains_reference:
        # Tuned alike, for its gain to be the routing's.
        rest = {name: value for name, value in settings.items() if name != "routing"}
        reference = trainer_of(spec.with_training(routing=SINGLE_TASK), rest, reference_base).with_id(REFERENCE_TRAINER)
    trainer = trainer_of(spec, settings, base, reference.outputs["model"] if reference and is_auto else None)
    earlier = preflight or _baseline_resolver(trainer)
    evaluator = SeesawEvaluator(
        spec,
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=earlier.outputs["baseline_model" if preflight else "model"],
        reference_model=reference.outputs["model"] if reference else None,
        split=EVALUATED_SPLIT,
    )
    serving_validator = ServingValidator(
        spec, model=trainer.outputs["model"], examples=example_gen.outputs["examples"], split=EVALUATED_SPLIT
    )
    pusher = Pusher(
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=serving_validator.outputs["blessing"],
        destination=config.push_destination(spec),
    )
    report = EvaluationReport(
        metadata_path=config.metadata_path,
        evaluation=evaluator.outputs["evaluation"],
        model_run=trainer.outputs["model_run"],
        quarantine=example_gen.outputs["quarantine"],
        statistics=statistics_gen.outputs["statistics"],
        anomalies=example_validator.outputs["anomalies"],
        **({"drift": drift[0].outputs["anomalies"]} if drift else {}),
        infra_blessing=serving_validator.outputs["blessing"],
        pushed_model=pusher.outputs["pushed_model"],
        **_report_of_statistics(spec, example_gen),
    )
    connection = config.metadata_path and metadata.sqlite_metadata_connection_config(config.metadata_path)
    return Pipeline(
        pipeline_name=config.pipeline_name(spec),
        pipeline_root=config.artifacts_dir,
        components=[
            earlier,
            example_gen,
            statistics_gen,
            schema_source,
            example_validator,
            anomaly_gate,
            *drift,
            transform,
            *([warm_start] if warm_start else []),
            *([tuner] if tuner else []),
            *([reference] if reference else []),
            trainer,
            evaluator,
            serving_validator,
            pusher,
            report,
        ],
        enable_cache=config.cache,
        metadata_connection_config=connection,
        beam_pipeline_args=list(config.beam_args),
    )


def _report_of_statistics(spec: RankingSpec, example_gen: InteractionExampleGen) -> dict[str, Any]:
    """Returns what the report needs besides to tell of the spec's statistics; nothing where it declares none."""
    if spec.statistics is None:
        return {}
    return {"examples": example_gen.outputs["examples"], "spec": evaluation_part(spec).to_json()}


def _warm_start_resolver() -> Resolver:
    """Returns the node that finds the latest blessed model, to start from, and its reference."""
    return Resolver(
        strategy_class=LatestBlessedPairStrategy,
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        reference=Channel(type=standard_artifacts.Model, producer_component_id=REFERENCE_TRAINER, output_key="model"),
    ).with_id("WarmStartResolver")


def _started_from(
    preflight: Preflight | None, warm_start: Resolver | None
) -> tuple[types.BaseChannel | None, types.BaseChannel | None]:
    """Returns what the ranker and what its reference start from."""
    if preflight:
        return preflight.outputs["base_model"], preflight.outputs["reference_base_model"]
    if warm_start:
        return warm_start.outputs["model"], warm_start.outputs["reference"]
    return None, None


def _baseline_resolver(trainer: Trainer) -> Resolver:
    return Resolver(
        strategy_class=LatestComparableModelStrategy,
        candidate=trainer.outputs["model"],
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
    ).with_id("BaselineResolver")


def _drift_nodes(spec: RankingSpec, drift: Drift, statistics_gen: StatisticsGen) -> list:
    validator = DistributionValidator(
        statistics=statistics_gen.outputs["statistics"],
        baseline_statistics=statistics_gen.outputs["statistics"],
        config=drift_config(spec, drift),
        include_split_pairs=SPLIT_PAIRS,
    )
    return [validator, DriftCheck(anomalies=validator.outputs["anomalies"], action=drift.action)]
