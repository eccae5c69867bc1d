import dataclasses
import sys
import time

import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners import create_runner
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import data_plane
from tfx.utils import dependency_utils

from pipeline.runners.beam import (
    BeamArgumentError,
    Cluster,
    beam_arguments,
    is_distributed,
    local_path_doubts,
    pack_for_distributed_runners_only,
    send_inputs_whole,
    version_doubts,
)

CLUSTER = Cluster(master="master:8081", worker_image="registry/fulcrum:1", artifacts_dir="gs://bucket/staging")
DATAFLOW = dataclasses.replace(CLUSTER, master=None)
GCP = ("--project=p", "--region=europe-west1")


def parsed(runner: str, cluster: Cluster | None = None, extra: tuple[str, ...] = ()) -> PipelineOptions:
    """As Beam reads them; it must know every one of them, and the runner."""
    options = PipelineOptions(list(beam_arguments(runner, cluster, extra)))
    all_options = options.get_all_options()
    for argument in beam_arguments(runner, cluster, extra):
        assert argument.lstrip("-").partition("=")[0] in all_options, f"Beam doesn't know {argument}"
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
    ("runner", "cluster", "extra"),
    [
        ("local", Cluster(), ()),
        ("local", Cluster(parallelism=2), ()),
        ("portable", Cluster(job_endpoint="jobs:8099", worker_image="registry/fulcrum:1"), ()),
        ("portable", Cluster(job_endpoint="jobs:8099", worker_pool="localhost:50000"), ()),
        ("flink", CLUSTER, ()),
        ("flink", Cluster("master:8081", artifacts_dir="/mnt", worker_pool="localhost:50000", parallelism=4), ()),
        ("flink", Cluster("master:8081", artifacts_dir="/mnt"), ("--environment_type=PROCESS",)),
        ("flink", Cluster("[local]"), ()),
        ("spark", Cluster("spark://host:7077", "registry/fulcrum:1", "/mnt/staging", parallelism=4), ()),
        ("dataflow", DATAFLOW, GCP),
    ],
)
def test_tfx_hands_the_arguments_of_every_runner_on_unchanged(monkeypatch, runner, cluster, extra):
    monkeypatch.setattr(dependency_utils, "make_beam_dependency_flags", dependency_utils.make_beam_dependency_flags)
    arguments = list(beam_arguments(runner, cluster, extra))
    pack_for_distributed_runners_only()
    assert dependency_utils.make_beam_dependency_flags(arguments) == arguments


def test_a_job_server_that_runs_already_gets_the_workers_address_and_the_parallelism():
    cluster = Cluster(job_endpoint="jobs:8099", worker_pool="localhost:50000", parallelism=3)
    options = parsed("portable", cluster)
    portable = options.view_as(PortableOptions)
    assert options.view_as(StandardOptions).runner == "PortableRunner"
    assert portable.job_endpoint == "jobs:8099"
    assert (portable.environment_type, portable.environment_config) == ("EXTERNAL", "localhost:50000")
    assert options.view_as(FlinkRunnerOptions).parallelism == 3
    # Else TFX would ship itself.
    assert options.view_as(WorkerOptions).sdk_container_image == "none"


def test_workers_at_an_address_need_no_image_and_an_image_is_handed_on():
    pool = Cluster("master:8081", artifacts_dir="/mnt", worker_pool="localhost:50000")
    options = parsed("flink", pool)
    assert options.view_as(PortableOptions).environment_config == "localhost:50000"
    named = parsed("flink", dataclasses.replace(pool, worker_image="registry/fulcrum:1"))
    assert named.view_as(PortableOptions).environment_type == "EXTERNAL"
    assert named.view_as(WorkerOptions).sdk_container_image == "registry/fulcrum:1"


def test_a_pool_of_workers_serves_a_cluster_that_is_started_here():
    cluster = Cluster("[local]", artifacts_dir="/mnt", worker_pool="localhost:50000")
    assert parsed("flink", cluster).view_as(PortableOptions).environment_type == "EXTERNAL"


def test_parallelism_is_what_each_runner_calls_it():
    here = parsed("local", Cluster(parallelism=2)).view_as(DirectOptions)
    assert (here.direct_running_mode, here.direct_num_workers) == ("multi_processing", 2)
    assert beam_arguments("local", Cluster(parallelism=1)) == beam_arguments("local")
    flink = dataclasses.replace(CLUSTER, parallelism=8)
    assert parsed("flink", flink).view_as(FlinkRunnerOptions).parallelism == 8
    spark = parsed("spark", Cluster("local", parallelism=8)).view_as(JobServerOptions)
    assert spark.job_server_jvm_properties == ["-Dspark.default.parallelism=8"]


def test_the_job_servers_jar_is_flinks_or_sparks():
    flink = parsed("flink", dataclasses.replace(CLUSTER, job_server_jar="/opt/flink.jar"))
    assert flink.view_as(FlinkRunnerOptions).flink_job_server_jar == "/opt/flink.jar"
    spark = parsed("spark", Cluster("local", job_server_jar="/opt/spark.jar"))
    assert spark.view_as(SparkRunnerOptions).spark_job_server_jar == "/opt/spark.jar"


def test_local_paths_of_a_cluster_are_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    cluster = Cluster(artifacts_dir="staging", job_server_jar="flink.jar").with_absolute_paths()
    assert (cluster.artifacts_dir, cluster.job_server_jar) == (f"{tmp_path}/staging", f"{tmp_path}/flink.jar")
    assert CLUSTER.with_absolute_paths() == CLUSTER


def test_a_path_that_workers_elsewhere_may_not_see_is_named():
    paths = {"--logs": "gs://bucket/logs", "--output": "/home/me/run", "--artifacts-dir": None}
    (line,) = local_path_doubts(beam_arguments("flink", CLUSTER), paths)
    assert line.startswith("--output /home/me/run: a local path")
    assert local_path_doubts(beam_arguments("local"), paths) == []
    assert local_path_doubts(beam_arguments("flink", Cluster(master="[local]")), paths) == []


def test_dataflow_gets_the_worker_image_and_a_temporary_location():
    options = parsed("dataflow", DATAFLOW, GCP)
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
        ("dataflow", DATAFLOW, (), "runner dataflow needs --beam-arg=--project"),
        ("dataflow", Cluster(worker_image="i:1"), GCP, "runner dataflow needs --artifacts-dir"),
        ("portable", Cluster(), (), "runner portable needs --job-endpoint"),
        ("portable", Cluster(job_endpoint="m:1"), (), "runner portable needs --worker-image IMAGE or --worker-pool"),
        ("portable", Cluster(job_endpoint="m"), (), "--job-endpoint: expected HOST:PORT, got 'm'"),
        ("flink", Cluster("m:8081", worker_pool="http://m:1"), (), "--worker-pool: expected HOST:PORT"),
        ("flink", Cluster("m:8081", parallelism=0), (), "--parallelism: expected at least 1, got 0"),
        (
            "flink",
            Cluster("m:8081", job_endpoint="m:1"),
            (),
            "--job-endpoint: is for the runners portable, got --runner",
        ),
        ("local", Cluster(master="m:8081"), (), "--master: is for the runners flink, spark, got --runner local"),
        ("local", Cluster(worker_image="i:1"), (), "--worker-image: is for the runners portable, flink, spark, dat"),
        ("portable", Cluster(artifacts_dir="/mnt"), (), "--artifacts-dir: is for the runners flink, spark, dataflow"),
        ("local", Cluster(worker_pool="m:1"), (), "--worker-pool: is for the runners portable, flink, spark"),
        ("portable", Cluster(job_server_jar="a.jar"), (), "--job-server-jar: is for the runners flink, spark"),
        ("dataflow", dataclasses.replace(DATAFLOW, parallelism=2), GCP, "--parallelism: is for the runners local"),
        (
            "flink",
            Cluster("[local]", worker_image="i:1"),
            (),
            "--worker-image: is for workers elsewhere; with --master",
        ),
        ("spark", Cluster("local[4]", artifacts_dir="/mnt"), (), "--artifacts-dir: is for workers elsewhere; with"),
        ("prism", None, (), "expected one of local, portable, flink, spark, dataflow, got 'prism'"),
        ("local", None, ("direct_num_workers=2",), "expected --name or --name=value"),
    ],
)
def test_what_a_runner_needs_and_nobody_gave_is_named(runner, cluster, extra, message):
    with pytest.raises(BeamArgumentError, match=message):
        beam_arguments(runner, cluster, extra)


def test_distributed_runners_are_told_from_those_in_this_container():
    assert is_distributed(beam_arguments("flink", CLUSTER))
    assert is_distributed(["--runner", "FlinkRunner", "--flink_master", "m:8081"])
    assert not is_distributed(beam_arguments("local"))
    assert not is_distributed(())
    # Beam takes these as well.
    assert not any(is_distributed([f"--runner={name}"]) for name in ("direct", "fnapirunner", "DirectRunner"))


def test_which_python_workers_elsewhere_need_is_told():
    (line,) = version_doubts(beam_arguments("flink", CLUSTER))
    assert f"Python {sys.version_info.major}.{sys.version_info.minor} " in line
    assert version_doubts(beam_arguments("local")) == []
    assert version_doubts(beam_arguments("flink", Cluster(master="[local]"))) == []


def test_tfx_packs_itself_up_for_workers_elsewhere_alone(monkeypatch):
    monkeypatch.setattr(dependency_utils, "make_beam_dependency_flags", dependency_utils.make_beam_dependency_flags)
    monkeypatch.setattr(dependency_utils, "build_ephemeral_package", lambda: "packed.tar.gz")
    for _ in range(2):
        pack_for_distributed_runners_only()

    packed = dependency_utils.make_beam_dependency_flags
    assert packed(["--runner=FlinkRunner"]) == ["--runner=FlinkRunner", "--extra_package=packed.tar.gz"]
    assert packed(["--runner=FnApiRunner"]) == ["--runner=FnApiRunner"]


def test_what_is_written_to_a_worker_while_a_second_thread_flushes_is_lost_unless_inputs_are_sent_whole(monkeypatch):
    def sent_of(time_limit_ms: int) -> int:
        sent: list[bytes] = []

        def slow(data: bytes) -> None:
            sent.append(data)
            time.sleep(0.05)

        stream = data_plane.ClosableOutputStream.create(sent.append, slow, time_limit_ms)
        for _ in range(200):
            stream.write(b"0123456789")
            time.sleep(0.001)
        stream.close()
        return sum(map(len, sent))

    # If it is all of them, Beam has mended it, and `send_inputs_whole` has had its day.
    assert sent_of(20) < 2_000
    monkeypatch.setattr(worker_handlers, "DATA_BUFFER_TIME_LIMIT_MS", worker_handlers.DATA_BUFFER_TIME_LIMIT_MS)
    send_inputs_whole()
    assert sent_of(worker_handlers.DATA_BUFFER_TIME_LIMIT_MS) == 2_000


def test_beams_runner_takes_the_limit_from_where_it_is_set(monkeypatch):
    monkeypatch.setattr(worker_handlers, "DATA_BUFFER_TIME_LIMIT_MS", 0)
    server = worker_handlers.GrpcServer(worker_handlers.StateServicer(), None, None)
    try:
        connection = server.data_plane_handler.get_conn_by_worker_id("1")
        assert type(connection.output_stream("1", "1")) is data_plane.SizeBasedBufferingClosableOutputStream
    finally:
        server.close()
