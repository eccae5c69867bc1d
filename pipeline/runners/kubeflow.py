"""Compiles the pipeline to what Kubeflow Pipelines v2 takes, by TFX's KubeflowV2DagRunner.

TFX's runner writes neither the parameters' defaults nor their descriptions, and can't make a parameter of Beam's
arguments, which it would write into every container's command. These are added to what it gives, and the texts that
would make it too large for Kubeflow are moved into one parameter.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.v2 import compiler_utils, kubeflow_v2_dag_runner

from components.run_parameters import compiled_parameters
from pipeline.config import RunConfig
from pipeline.pipeline import create_pipeline
from pipeline.runners.constants import move_constants
from pipeline.runners.entrypoint import ARTIFACT_TYPES, BEAM_ARGS, LOCAL_ARTIFACTS
from pipeline.runners.kubeflow_limits import check_size
from pipeline.runners.resources import DEFAULTS, OTHERS, Resources, ResourcesError
from schema.spec import RankingSpec

_ENTRYPOINT = ("python", "-m", "pipeline.kubeflow_entrypoint")


def compile_pipeline(
    spec: RankingSpec,
    image: str,
    root: str,
    defaults: Mapping[str, str | int | float],
    resources: Mapping[str, Resources],
    vertex: bool = False,
) -> str:
    """Returns the pipeline as YAML for open-source Kubeflow, or as a JSON job for Vertex AI.

    The same arguments give the same text.

    Args:
      image: what every component runs in.
      root: the URI below which a run keeps its artifacts.
      defaults: of the parameters that need not be given when a run is started.
      resources: by component; `pipeline.runners.resources.OTHERS` for those that are not named.

    Raises:
      ResourcesError: `resources` names no component of the pipeline.
      TypeError: a component has an artifact type that its container would not know.
      SizeError: the pipeline is larger than Kubeflow can start.
    """
    declared = {parameter.name: parameter for parameter in compiled_parameters()}
    parameters = {name: RuntimeParameter(name, parameter.type) for name, parameter in declared.items()}
    config = RunConfig(
        logs=parameters["logs"],
        window=parameters["window"],
        output=root,
        # What the logs hold is not known yet, so that nothing may come from an earlier run.
        fingerprint="",
        cache=False,
        # A parameter of the run; see `_add_beam_args`.
        beam_args=(),
        parameters=parameters,
    )
    pipeline = create_pipeline(spec, config)
    components = [node for node in pipeline.components if isinstance(node, BaseComponent)]
    _check_artifact_types(components)
    _set_resources(components, resources)
    runner_config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
        default_image=image,
        default_commands=[*_ENTRYPOINT, *([] if vertex else [LOCAL_ARTIFACTS])],
        use_pipeline_spec_2_1=True,
    )
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(config=runner_config)
    job = runner.run(pipeline, write_out=False)
    compiled = job["pipelineSpec"]
    compiled["defaultPipelineRoot"] = root
    _add_beam_args(compiled, [node.id for node in components if isinstance(node, BaseBeamComponent)])
    for name, definition in compiled["root"]["inputDefinitions"]["parameters"].items():
        definition["description"] = declared[name].description
        if name in defaults:
            definition["defaultValue"] = defaults[name]
            definition["isOptional"] = True
    move_constants(compiled)
    check_size(compiled)
    return json.dumps(job, sort_keys=True, indent=1) + "\n" if vertex else yaml.safe_dump(compiled, sort_keys=True)


def _check_artifact_types(components: Sequence[BaseComponent]) -> None:
    importable = {*compiler_utils.TITLE_TO_CLASS_PATH, *(f"tfx.{title}" for title in ARTIFACT_TYPES)}
    for component in components:
        for key, channel in (component.inputs | component.outputs).items():
            if f"tfx.{channel.type.TYPE_NAME}" not in importable:
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


def _resource_spec(resources: Resources) -> Any:
    # The numbers are for older installations and Vertex AI, the texts for Kubeflow Pipelines as it is now.
    spec = PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec(
        cpu_limit=resources.cpu,
        memory_limit=resources.memory_gb,
        resource_cpu_limit=f"{resources.cpu:g}",
        resource_memory_limit=resources.memory,
    )
    if resources.gpu:
        spec.accelerator.type = spec.accelerator.resource_type = resources.gpu_type
        spec.accelerator.count, spec.accelerator.resource_count = resources.gpu, str(resources.gpu)
    return spec


def _add_beam_args(compiled: dict[str, Any], components: Sequence[str]) -> None:
    for name in components:
        inputs = compiled["components"][name]["inputDefinitions"]
        inputs.setdefault("parameters", {})[BEAM_ARGS] = {"parameterType": "STRING"}
        task = compiled["root"]["dag"]["tasks"][name]["inputs"]
        task.setdefault("parameters", {})[BEAM_ARGS] = {"componentInputParameter": BEAM_ARGS}
