"""Names the runners of Apache Beam, and the arguments by which they work for TFX's and our own components."""

import argparse
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from apache_beam.options.pipeline_options import FlinkRunnerOptions

# Runs Beam in this process; `DirectRunner` would look for a job server to download first.
IN_MEMORY = "--runner=FnApiRunner"
# The newest Flink that this Beam has a job server for. Without the argument, SDK and job server may disagree.
FLINK_VERSION = FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS[-1]
_FLAG = re.compile(r"--(\w+)(=.*)?", re.DOTALL)
_ADDRESS = re.compile(r"[^\s/]+:\d{1,5}")
# More SDK workers in one task manager are a known problem of TFX: tensorflow/tfx#3256.
_ONE_WORKER = "--sdk_worker_parallelism=1"
# TFX goes by whether an image is named: without a name it ships itself, for which pip finds no ml-metadata on the
# worker. Runners with a job server start the workers by the environment, and not by this name.
_NOTHING_SHIPPED = "none"
# Beam takes their names in any case, and with or without `Runner` at the end.
_RUNNERS_OF_THIS_PROCESS = ("fnapi", "direct", "bundlebaseddirect", "switchingdirect")


class BeamArgumentError(ValueError):
    """Beam can't run by these arguments; the message says what is missing or wrong."""


@dataclass(frozen=True)
class Cluster:
    """Where Beam runs, and by how many workers.

    Attributes:
      master: Flink's REST address or Spark's master URL; `[local]` and `local[4]` start one here.
      worker_image: the image that the workers run, with this package and the same Beam in it.
      artifacts_dir: a folder that the job server and every worker can reach; for Dataflow its temporary location.
      job_endpoint: the address of a job server that runs already, such as Prism's or Flink's (`portable`).
      worker_pool: the address, the same on every machine of the cluster, at which workers are started.
      job_server_jar: the file of the job server that is started here for Flink or Spark, which Beam would download.
      parallelism: into how many tasks a stage is divided; here, how many processes work.
    """

    master: str | None = None
    worker_image: str | None = None
    artifacts_dir: str | None = None
    job_endpoint: str | None = None
    worker_pool: str | None = None
    job_server_jar: str | None = None
    parallelism: int | None = None

    def with_absolute_paths(self) -> "Cluster":
        """Returns the cluster with its local paths in full, since job server and workers have other working folders."""
        return replace(
            self,
            artifacts_dir=self.artifacts_dir and _absolute(self.artifacts_dir),
            job_server_jar=self.job_server_jar and _absolute(self.job_server_jar),
        )


# Which runner has a use for an option; where none has, saying nothing would leave a run that is not as it was meant.
_USED_BY = {
    "master": ("flink", "spark"),
    "worker_image": ("portable", "flink", "spark", "dataflow"),
    "artifacts_dir": ("flink", "spark", "dataflow"),
    "job_endpoint": ("portable",),
    "worker_pool": ("portable", "flink", "spark"),
    "job_server_jar": ("flink", "spark"),
    "parallelism": ("local", "portable", "flink", "spark"),
}


def beam_arguments(runner: str, cluster: Cluster | None = None, extra: Sequence[str] = ()) -> tuple[str, ...]:
    """Returns the arguments for Beam; those in `extra` come last and replace any of the same name.

    Raises:
      BeamArgumentError: an unknown runner, something in `extra` that is no `--name` or `--name=value`, a part of the
        cluster that the runner needs and nobody gave, or one that it has no use for.
    """
    cluster = cluster or Cluster()
    overrides = {}
    for argument in extra:
        match = _FLAG.fullmatch(argument)
        if not match:
            raise BeamArgumentError(f"beam argument {argument!r}: expected --name or --name=value")
        overrides[match[1]] = argument
    if runner not in _BUILDERS:
        raise BeamArgumentError(f"runner: expected one of {', '.join(_BUILDERS)}, got {runner!r}")
    _check(runner, cluster)
    defaults = _BUILDERS[runner](cluster, overrides)
    return (*(text for name, text in defaults.items() if name not in overrides), *extra)


def _check(runner: str, cluster: Cluster) -> None:
    for name, runners in _USED_BY.items():
        if getattr(cluster, name) is not None and runner not in runners:
            option = name.replace("_", "-")
            raise BeamArgumentError(f"--{option}: is for the runners {', '.join(runners)}, got --runner {runner}")
    for name in ("job_endpoint", "worker_pool"):
        address = getattr(cluster, name)
        if address is not None and not _ADDRESS.fullmatch(address):
            raise BeamArgumentError(f"--{name.replace('_', '-')}: expected HOST:PORT, got {address!r}")
    if cluster.parallelism is not None and cluster.parallelism < 1:
        raise BeamArgumentError(f"--parallelism: expected at least 1, got {cluster.parallelism}")


def is_distributed(arguments: Sequence[str]) -> bool:
    """Returns whether workers on other machines read and write the files."""
    runner = _value_of("runner", arguments) or "direct"
    return runner.rpartition(".")[2].lower().removesuffix("runner") not in _RUNNERS_OF_THIS_PROCESS


def starts_cluster(runner: str, master: str | None) -> bool:
    """Returns whether a runner starts its cluster here, whose workers are this process."""
    return (runner == "flink" and master in ("[local]", "[auto]")) or (
        runner == "spark" and (master or "").startswith("local")
    )


def version_doubts(arguments: Sequence[str]) -> list[str]:
    """Returns a line that says which Python workers elsewhere need, if there are any; nothing can ask them."""
    if not _has_workers_elsewhere(arguments):
        return []
    python = ".".join(platform.python_version_tuple()[:2])
    return [
        f"Beam's workers get functions of Python {python} by value, and the others by their names: they need the same "
        "Python, and what this environment's lock file has (docs/scaling.md)"
    ]


def local_path_doubts(arguments: Sequence[str], paths: Mapping[str, str | None]) -> list[str]:
    """Returns a line for each path of this machine that workers on other machines may not see.

    Args:
      arguments: of Beam.
      paths: by the option that they came in.
    """
    if not _has_workers_elsewhere(arguments):
        return []
    return [
        f"{option} {path}: a local path; Beam's workers read and write it only where the same file system "
        "is mounted at the same place"
        for option, path in paths.items()
        if path and "://" not in path
    ]


def _has_workers_elsewhere(arguments: Sequence[str]) -> bool:
    return is_distributed(arguments) and _value_of("environment_type", arguments) != "LOOPBACK"


def _value_of(name: str, arguments: Sequence[str]) -> str | None:
    """Returns the value of one of Beam's arguments, `--name=value` or `--name value`; of several the last."""
    # Beam's own parser would end the process at any other argument that it doesn't like.
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(f"--{name}", dest="value", nargs="?")
    return parser.parse_known_args([*arguments])[0].value


def pack_for_distributed_runners_only() -> None:
    """Has TFX pack itself for workers on other machines alone: here, each component on Beam would take seconds for it.

    Its package, and the copy that it is made of, would stay in the folder for temporary files for good.
    """
    from tfx.utils import dependency_utils

    packing = dependency_utils.make_beam_dependency_flags
    if isinstance(packing, _PackingIfDistributed):
        return
    dependency_utils.make_beam_dependency_flags = _PackingIfDistributed(packing)


def send_inputs_whole() -> None:
    """Has Beam's runner in Python send worker processes what it has for them when it is complete.

    Beside whoever writes, it would have a thread that sends what is there each second and then clears it: what was
    written in between is lost (`apache_beam.runners.worker.data_plane.TimeBasedBufferingClosableOutputStream`).
    """
    from apache_beam.runners.portability.fn_api_runner import worker_handlers

    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0


@dataclass(frozen=True)
class _PackingIfDistributed:
    packing: Callable[[list[str]], list[str]]

    def __call__(self, arguments: list[str]) -> list[str]:
        return self.packing(arguments) if is_distributed(arguments) else arguments


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)


def _local(cluster: Cluster, _: dict[str, str]) -> dict[str, str]:
    arguments = {"runner": IN_MEMORY}
    if (cluster.parallelism or 1) > 1:
        arguments["direct_running_mode"] = "--direct_running_mode=multi_processing"
        arguments["direct_num_workers"] = f"--direct_num_workers={cluster.parallelism}"
    return arguments


def _portable(cluster: Cluster, overrides: dict[str, str]) -> dict[str, str]:
    endpoint = _needed("portable", cluster.job_endpoint, "job_endpoint", overrides, "--job-endpoint HOST:PORT")
    return {
        "runner": "--runner=PortableRunner",
        "job_endpoint": f"--job_endpoint={endpoint}",
        **_parallelism(cluster),
        **_workers("portable", cluster, overrides),
    }


def _flink(cluster: Cluster, overrides: dict[str, str]) -> dict[str, str]:
    master = _needed(
        "flink", cluster.master, "flink_master", overrides, "the address of Flink's REST endpoint (HOST:8081)"
    )
    jar = {"flink_job_server_jar": f"--flink_job_server_jar={cluster.job_server_jar}"}
    return {
        "runner": "--runner=FlinkRunner",
        "flink_master": f"--flink_master={master}",
        "flink_version": f"--flink_version={FLINK_VERSION}",
        **(jar if cluster.job_server_jar else {}),
        **_parallelism(cluster),
        **_job_server("flink", cluster, overrides, master),
    }


def _spark(cluster: Cluster, overrides: dict[str, str]) -> dict[str, str]:
    master = _needed("spark", cluster.master, "spark_master_url", overrides, "the master's URL (spark://HOST:7077)")
    jar = {"spark_job_server_jar": f"--spark_job_server_jar={cluster.job_server_jar}"}
    # Beam's runner on Spark has no option for it: it takes Spark's own default, which the job server's JVM sets.
    parallel = {
        "job_server_jvm_properties": f"--job_server_jvm_properties=-Dspark.default.parallelism={cluster.parallelism}"
    }
    return {
        "runner": "--runner=SparkRunner",
        "spark_master_url": f"--spark_master_url={master}",
        "spark_version": "--spark_version=3",
        **(jar if cluster.job_server_jar else {}),
        **(parallel if cluster.parallelism else {}),
        **_job_server("spark", cluster, overrides, master),
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


def _parallelism(cluster: Cluster) -> dict[str, str]:
    return {"parallelism": f"--parallelism={cluster.parallelism}"} if cluster.parallelism else {}


def _job_server(runner: str, cluster: Cluster, overrides: dict[str, str], master: str) -> dict[str, str]:
    """Returns what runners with a job server of this process share."""
    if starts_cluster(runner, master) and not cluster.worker_pool:
        for option in ("worker_image", "artifacts_dir"):
            if getattr(cluster, option) is not None:
                raise BeamArgumentError(
                    f"--{option.replace('_', '-')}: is for workers elsewhere; with --master {master} they are here"
                )
        return {
            "sdk_worker_parallelism": _ONE_WORKER,
            "environment_type": "--environment_type=LOOPBACK",
            "sdk_container_image": f"--sdk_container_image={_NOTHING_SHIPPED}",
        }
    folder = _needed(
        runner, cluster.artifacts_dir, "artifacts_dir", overrides, "--artifacts-dir, a folder all can reach"
    )
    return {"artifacts_dir": f"--artifacts_dir={folder}", **_workers(runner, cluster, overrides)}


def _workers(runner: str, cluster: Cluster, overrides: dict[str, str]) -> dict[str, str]:
    """Returns what says where the workers are: at an address, as containers of an image, or as `overrides` have it."""
    image = cluster.worker_image
    environment = {}
    if cluster.worker_pool:
        environment["environment_type"] = "--environment_type=EXTERNAL"
        environment["environment_config"] = f"--environment_config={cluster.worker_pool}"
    elif "environment_type" not in overrides:
        image = _needed(
            runner, image, "environment_config", overrides, "--worker-image IMAGE or --worker-pool HOST:PORT"
        )
        environment["environment_type"] = "--environment_type=DOCKER"
        environment["environment_config"] = f"--environment_config={image}"
    return {
        "sdk_worker_parallelism": _ONE_WORKER,
        **environment,
        "sdk_container_image": f"--sdk_container_image={image or _NOTHING_SHIPPED}",
    }


def _needed(runner: str, value: str | None, name: str, overrides: dict[str, str], what: str) -> str:
    """Returns the value of an option of ours, or of Beam's argument that stands for it."""
    value = value or overrides.get(name, "").partition("=")[2]
    if not value:
        raise BeamArgumentError(f"runner {runner} needs {what} (or --beam-arg=--{name}=…)")
    return value


_BUILDERS = {"local": _local, "portable": _portable, "flink": _flink, "spark": _spark, "dataflow": _dataflow}
