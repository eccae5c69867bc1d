"""Names the runners of Apache Beam, and the arguments by which they work for TFX's and our own components."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from apache_beam.options.pipeline_options import FlinkRunnerOptions

# Runs Beam in this process; `DirectRunner` would look for a job server to download first.
IN_MEMORY = "--runner=FnApiRunner"
# The newest Flink that this Beam has a job server for. Without the argument, SDK and job server may disagree.
FLINK_VERSION = FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS[-1]
_FLAG = re.compile(r"--(\w+)(=.*)?", re.DOTALL)


class BeamArgumentError(ValueError):
    """Beam can't run by these arguments; the message says what is missing or wrong."""


@dataclass(frozen=True)
class Cluster:
    """Where a distributed runner works.

    Attributes:
      master: Flink's REST address or Spark's master URL; `[local]` and `local[4]` start one here.
      worker_image: the image that the workers run, with this package and the same Beam in it.
      artifacts_dir: a folder that the job server and every worker can reach; for Dataflow its temporary location.
    """

    master: str | None = None
    worker_image: str | None = None
    artifacts_dir: str | None = None


def beam_arguments(runner: str, cluster: Cluster | None = None, extra: Sequence[str] = ()) -> tuple[str, ...]:
    """Returns the arguments for Beam; those in `extra` come last and replace any of the same name.

    Raises:
      BeamArgumentError: an unknown runner, something in `extra` that is no `--name` or `--name=value`, or a part of
        the cluster that the runner needs and nobody gave.
    """
    overrides = {}
    for argument in extra:
        match = _FLAG.fullmatch(argument)
        if not match:
            raise BeamArgumentError(f"beam argument {argument!r}: expected --name or --name=value")
        overrides[match[1]] = argument
    if runner not in _BUILDERS:
        raise BeamArgumentError(f"runner: expected one of {', '.join(_BUILDERS)}, got {runner!r}")
    defaults = _BUILDERS[runner](cluster or Cluster(), overrides)
    return (*(text for name, text in defaults.items() if name not in overrides), *extra)


def is_distributed(arguments: Sequence[str]) -> bool:
    """Returns whether workers on other machines read and write the files."""
    runners = [argument.partition("=")[2] for argument in arguments if argument.startswith("--runner=")]
    return bool(runners) and runners[-1] not in ("FnApiRunner", "DirectRunner", "BundleBasedDirectRunner")


def pack_for_distributed_runners_only() -> None:
    """Has TFX pack itself for workers on other machines alone: here, each component on Beam would take seconds for it.

    Its package, and the copy that it is made of, would stay in the folder for temporary files for good.
    """
    from tfx.utils import dependency_utils

    packing = dependency_utils.make_beam_dependency_flags
    if isinstance(packing, _PackingIfDistributed):
        return
    dependency_utils.make_beam_dependency_flags = _PackingIfDistributed(packing)


@dataclass(frozen=True)
class _PackingIfDistributed:
    packing: Callable[[list[str]], list[str]]

    def __call__(self, arguments: list[str]) -> list[str]:
        return self.packing(arguments) if is_distributed(arguments) else arguments


def _local(_: Cluster, __: dict[str, str]) -> dict[str, str]:
    return {"runner": IN_MEMORY}


def _flink(cluster: Cluster, overrides: dict[str, str]) -> dict[str, str]:
    master = _needed(
        "flink", cluster.master, "flink_master", overrides, "the address of Flink's REST endpoint (HOST:8081)"
    )
    return {
        "runner": "--runner=FlinkRunner",
        "flink_master": f"--flink_master={master}",
        "flink_version": f"--flink_version={FLINK_VERSION}",
        **_portable("flink", cluster, overrides, at_home=master in ("[local]", "[auto]")),
    }


def _spark(cluster: Cluster, overrides: dict[str, str]) -> dict[str, str]:
    master = _needed("spark", cluster.master, "spark_master_url", overrides, "the master's URL (spark://HOST:7077)")
    return {
        "runner": "--runner=SparkRunner",
        "spark_master_url": f"--spark_master_url={master}",
        "spark_version": "--spark_version=3",
        **_portable("spark", cluster, overrides, at_home=master.startswith("local")),
    }


def _dataflow(cluster: Cluster, overrides: dict[str, str]) -> dict[str, str]:
    for name in ("project", "region"):
        if name not in overrides:
            raise BeamArgumentError(f"runner dataflow needs --beam-arg=--{name}=…")
    image = _needed("dataflow", cluster.worker_image, "sdk_container_image", overrides, "--worker-image IMAGE")
    folder = _needed(
        "dataflow", cluster.artifacts_dir, "temp_location", overrides, "--artifacts-dir gs://BUCKET/FOLDER"
    )
    return {
        "runner": "--runner=DataflowRunner",
        "sdk_container_image": f"--sdk_container_image={image}",
        "temp_location": f"--temp_location={folder}",
    }


def _portable(runner: str, cluster: Cluster, overrides: dict[str, str], at_home: bool) -> dict[str, str]:
    """Returns what runners with a job server share. At home the workers are this process; elsewhere, containers."""
    # More SDK workers in one task manager are a known problem of TFX: tensorflow/tfx#3256.
    arguments = {"sdk_worker_parallelism": "--sdk_worker_parallelism=1"}
    if at_home:
        return {**arguments, "environment_type": "--environment_type=LOOPBACK"}
    folder = _needed(
        runner, cluster.artifacts_dir, "artifacts_dir", overrides, "--artifacts-dir, a folder all can reach"
    )
    arguments["artifacts_dir"] = f"--artifacts_dir={folder}"
    if "environment_type" in overrides:
        return arguments
    image = _needed(runner, cluster.worker_image, "environment_config", overrides, "--worker-image IMAGE")
    return {
        **arguments,
        "environment_type": "--environment_type=DOCKER",
        "environment_config": f"--environment_config={image}",
        # What TFX goes by: without it, it ships itself, and pip finds no ml-metadata for that on the worker.
        "sdk_container_image": f"--sdk_container_image={image}",
    }


def _needed(runner: str, value: str | None, name: str, overrides: dict[str, str], what: str) -> str:
    """Returns the value of an option of ours, or of Beam's argument that stands for it."""
    value = value or overrides.get(name, "").partition("=")[2]
    if not value:
        raise BeamArgumentError(f"runner {runner} needs {what} (or --beam-arg=--{name}=…)")
    return value


_BUILDERS = {"local": _local, "flink": _flink, "spark": _spark, "dataflow": _dataflow}
