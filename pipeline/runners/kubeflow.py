"""Compiles the pipeline to what Kubeflow Pipelines v2 takes, by TFX's KubeflowV2DagRunner.

TFX's runner writes neither the parameters' defaults nor their descriptions, and can't make a parameter of Beam's
arguments, which it would write into every container's command. These are added to what it gives.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import tfx.v1 as tfx
import yaml
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.v2 import compiler_utils

from pipeline.config import Parameters, RunConfig
from pipeline.pipeline import create_pipeline
from pipeline.runners.entrypoint import ARTIFACT_TYPES, BEAM_ARGS, LOCAL_ARTIFACTS
from pipeline.runners.resources import DEFAULTS, OTHERS, Resources, ResourcesError
from schema.spec import RankingSpec

# What a run is started with: the type, and what a person reads about it.
PARAMETERS: dict[str, tuple[type, str]] = {
    "logs": (str, "The folder (a URI) of the logs that the spec's patterns name."),
    "window": (str, "The days whose impressions become examples, such as 7d:2026-11-25; empty: all logs at once."),
    "state": (str, "The folder (a URI) where the runs of a rolling window keep what earlier days carry on."),
    "epochs": (int, "At most so many passes over the train split."),
    "routing": (str, "How the tasks share parameters."),
    "compare_with": (str, "The blessed model (a URI) that the new one may not fall behind; empty for none."),
    "start_from": (str, "The model (a URI) that training starts from; empty for none."),
    "push_destination": (str, "The folder (a URI) of the model's versions that the serving side watches."),
    "beam_args": (str, "The arguments of Apache Beam, as on a command line."),
}
_ENTRYPOINT = ("python", "-m", "pipeline.kubeflow_entrypoint")


def compile_pipeline(
    spec: RankingSpec,
    image: str,
    root: str,
    defaults: Mapping[str, str | int],
    resources: Mapping[str, Resources],
    vertex: bool = False,
) -> str:
    """The pipeline as YAML for open-source Kubeflow, or as a JSON job for Vertex AI. The same arguments, the same text.

    Args:
      image: what every component runs in.
      root: the URI below which a run keeps its artifacts.
      defaults: of the parameters that need not be given when a run is started.
      resources: by component; `kubeflow_resources.OTHERS` for those that are not named.

    Raises:
      ResourcesError: `resources` names no component of the pipeline.
      TypeError: a component has an artifact type that its container would not know.
    """
    given = {name: RuntimeParameter(name, kind) for name, (kind, _) in PARAMETERS.items()}
    config = RunConfig(
        logs=given.pop("logs"),
        window=given.pop("window"),
        output=root,
        # What the logs hold is not known yet, so that nothing may come from an earlier run.
        fingerprint="",
        cache=False,
        # A parameter of the run; see `_add_beam_args`.
        beam_args=(),
        parameters=Parameters(**given),
    )
    pipeline = create_pipeline(spec, config)
    components = [node for node in pipeline.components if isinstance(node, BaseComponent)]
    _check_artifact_types(components)
    _set_resources(components, resources)
    runner_config = tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(
        default_image=image,
        default_commands=[*_ENTRYPOINT, *([] if vertex else [LOCAL_ARTIFACTS])],
        use_pipeline_spec_2_1=True,
    )
    runner = tfx.orchestration.experimental.KubeflowV2DagRunner(config=runner_config)
    job = runner.run(pipeline, write_out=False)
    compiled = job["pipelineSpec"]
    compiled["defaultPipelineRoot"] = root
    _add_beam_args(compiled, [node.id for node in components if isinstance(node, BaseBeamComponent)])
    for name, definition in compiled["root"]["inputDefinitions"]["parameters"].items():
        definition["description"] = PARAMETERS[name][1]
        if name in defaults:
            definition["defaultValue"] = defaults[name]
            definition["isOptional"] = True
    return json.dumps(job, sort_keys=True, indent=1) + "\n" if vertex else yaml.safe_dump(compiled, sort_keys=True)


def _check_artifact_types(components: Sequence[BaseComponent]) -> None:
    known = {*compiler_utils.TITLE_TO_CLASS_PATH, *(f"tfx.{title}" for title in ARTIFACT_TYPES)}
    for component in components:
        for key, channel in (component.inputs | component.outputs).items():
            if f"tfx.{channel.type.TYPE_NAME}" not in known:
                raise TypeError(
                    f"{component.id}.{key}: the artifact type {channel.type.TYPE_NAME} is not among "
                    "pipeline.runners.entrypoint.ARTIFACT_TYPES, by which a container finds it"
                )


def _set_resources(components: Sequence[BaseComponent], resources: Mapping[str, Resources]) -> None:
    names = [component.id for component in components]
    for name in resources:
        # Not every pipeline has all that have defaults.
        if name not in (*DEFAULTS, *names):
            raise ResourcesError(f"resources: expected a component of {', '.join(sorted(names))}, got {name!r}")
    for component in components:
        component.with_platform_config(_resource_spec(resources.get(component.id, resources[OTHERS])))


def _resource_spec(wanted: Resources) -> Any:
    # The numbers are for older installations and Vertex AI, the texts for Kubeflow Pipelines as it is now.
    spec = PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec(
        cpu_limit=wanted.cpu,
        memory_limit=wanted.memory_gb,
        resource_cpu_limit=f"{wanted.cpu:g}",
        resource_memory_limit=wanted.memory,
    )
    if wanted.gpu:
        spec.accelerator.type = spec.accelerator.resource_type = wanted.gpu_type
        spec.accelerator.count, spec.accelerator.resource_count = wanted.gpu, str(wanted.gpu)
    return spec


def _add_beam_args(compiled: dict[str, Any], components: Sequence[str]) -> None:
    for name in components:
        inputs = compiled["components"][name]["inputDefinitions"]
        inputs.setdefault("parameters", {})[BEAM_ARGS] = {"parameterType": "STRING"}
        task = compiled["root"]["dag"]["tasks"][name]["inputs"]
        task.setdefault("parameters", {})[BEAM_ARGS] = {"componentInputParameter": BEAM_ARGS}
