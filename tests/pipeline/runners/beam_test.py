import pytest
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners import create_runner
from tfx.utils import dependency_utils

from pipeline.runners.beam import (
    BeamArgumentError,
    Cluster,
    beam_arguments,
    is_distributed,
    pack_for_distributed_runners_only,
)

CLUSTER = Cluster(master="master:8081", worker_image="registry/fulcrum:1", artifacts_dir="gs://bucket/staging")
GCP = ("--project=p", "--region=europe-west1")


def parsed(runner: str, cluster: Cluster | None = None, extra: tuple[str, ...] = ()) -> PipelineOptions:
    """As Beam reads them; it must know every one of them, and the runner."""
    options = PipelineOptions(list(beam_arguments(runner, cluster, extra)))
    known = options.get_all_options()
    for argument in beam_arguments(runner, cluster, extra):
        assert argument.lstrip("-").partition("=")[0] in known, f"Beam doesn't know {argument}"
    create_runner(options.view_as(StandardOptions).runner)
    return options


def test_local_runs_in_this_process():
    assert beam_arguments("local") == ("--runner=FnApiRunner",)
    parsed("local")


def test_flink_gets_its_version_the_worker_image_and_the_shared_folder():
    options = parsed("flink", CLUSTER)
    assert options.view_as(FlinkRunnerOptions).flink_master == "master:8081"
    assert options.view_as(FlinkRunnerOptions).flink_version == "1.20"
    portable = options.view_as(PortableOptions)
    assert (portable.environment_type, portable.environment_config) == ("DOCKER", "registry/fulcrum:1")
    assert int(portable.sdk_worker_parallelism) == 1


def test_a_cluster_that_is_started_here_has_its_workers_here():
    for runner, master in (("flink", "[local]"), ("spark", "local[2]")):
        assert parsed(runner, Cluster(master=master)).view_as(PortableOptions).environment_type == "LOOPBACK"


def test_spark_gets_the_worker_image_and_the_shared_folder():
    options = parsed("spark", Cluster("spark://host:7077", "registry/fulcrum:1", "/mnt/staging"))
    assert options.view_as(SparkRunnerOptions).spark_master_url == "spark://host:7077"
    assert options.view_as(PortableOptions).environment_config == "registry/fulcrum:1"


@pytest.mark.parametrize(
    ("runner", "master"), [("flink", "master:8081"), ("spark", "spark://host:7077"), ("dataflow", None)]
)
def test_tfx_hands_the_arguments_of_a_cluster_with_an_image_on_unchanged(monkeypatch, runner, master):
    monkeypatch.setattr(dependency_utils, "make_beam_dependency_flags", dependency_utils.make_beam_dependency_flags)
    cluster = Cluster(master, "registry/fulcrum:1", "gs://bucket/staging")
    arguments = list(beam_arguments(runner, cluster, GCP if runner == "dataflow" else ()))
    pack_for_distributed_runners_only()
    assert dependency_utils.make_beam_dependency_flags(arguments) == arguments


def test_dataflow_gets_the_worker_image_and_a_temporary_location():
    options = parsed("dataflow", CLUSTER, GCP)
    assert options.view_as(WorkerOptions).sdk_container_image == "registry/fulcrum:1"
    assert options.view_as(GoogleCloudOptions).temp_location == "gs://bucket/staging"


def test_an_argument_of_the_person_replaces_ours():
    ours = beam_arguments("flink", CLUSTER, ("--flink_version=1.18", "--environment_type=EXTERNAL"))
    assert [argument for argument in ours if "flink_version" in argument] == ["--flink_version=1.18"]
    assert not any(argument.startswith("--environment_config") for argument in ours)


@pytest.mark.parametrize(
    ("runner", "cluster", "extra", "message"),
    [
        ("flink", Cluster(), (), "runner flink needs the address of Flink's REST endpoint"),
        ("flink", Cluster(master="m:8081", worker_image="i:1"), (), "runner flink needs --artifacts-dir"),
        ("flink", Cluster(master="m:8081", artifacts_dir="/mnt"), (), "runner flink needs --worker-image"),
        ("spark", Cluster(), (), "runner spark needs the master's URL"),
        ("dataflow", CLUSTER, (), "runner dataflow needs --beam-arg=--project"),
        ("dataflow", Cluster(worker_image="i:1"), GCP, "runner dataflow needs --artifacts-dir"),
        ("prism", None, (), "expected one of local, flink, spark, dataflow, got 'prism'"),
        ("local", None, ("direct_num_workers=2",), "expected --name or --name=value"),
    ],
)
def test_what_a_runner_needs_and_nobody_gave_is_named(runner, cluster, extra, message):
    with pytest.raises(BeamArgumentError, match=message):
        beam_arguments(runner, cluster, extra)


def test_distributed_runners_are_told_from_those_in_this_container():
    assert is_distributed(beam_arguments("flink", CLUSTER))
    assert not is_distributed(beam_arguments("local"))
    assert not is_distributed(())


def test_tfx_packs_itself_up_for_workers_elsewhere_alone(monkeypatch):
    monkeypatch.setattr(dependency_utils, "make_beam_dependency_flags", dependency_utils.make_beam_dependency_flags)
    monkeypatch.setattr(dependency_utils, "build_ephemeral_package", lambda: "packed.tar.gz")
    for _ in range(2):
        pack_for_distributed_runners_only()

    packed = dependency_utils.make_beam_dependency_flags
    assert packed(["--runner=FlinkRunner"]) == ["--runner=FlinkRunner", "--extra_package=packed.tar.gz"]
    assert packed(["--runner=FnApiRunner"]) == ["--runner=FnApiRunner"]
