"""What `fulcrum compile` refuses before it compiles."""

from pathlib import Path

import pytest

from pipeline.cli.compile_arguments import check_image, prepare
from pipeline.cli.run_arguments import UsageError
from pipeline.runners.beam import Cluster

SPEC = Path(__file__).parents[3] / "schema" / "specs" / "shortvideo.yaml"
IMAGE, ROOT = "registry.example.com:5000/team/fulcrum:1.0", "gs://bucket/runs"


def test_a_run_that_is_told_nothing_does_as_the_spec_says():
    prepared = prepare(SPEC, IMAGE, ROOT)
    assert prepared.defaults == {
        "window": "",
        "state": "gs://bucket/runs/state",
        "epochs": 0,
        "routing": "ple",
        "compare_with": "",
        "start_from": "",
        "start_reference_from": "",
        "beam_args": "--runner=FnApiRunner",
    }


@pytest.mark.parametrize("image", [IMAGE, "fulcrum:1", f"registry:5000/fulcrum@sha256:{'0' * 64}"])
def test_an_image_with_a_tag_or_a_digest_will_do(image):
    check_image(image)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"window": "seven days"}, "window: expected DAYS:LAST such as 7d:2026-11-25"),
        ({"state": "ftp://host/state"}, "--state: expected an absolute path or a URI of"),
        ({"image": "registry:5000/fulcrum"}, "--image: expected a tag or a digest"),
        ({"image": "fulcrum"}, "--image: expected a tag or a digest"),
        ({"image": "fulcrum@sha256:12"}, "--image: expected REGISTRY/NAME:TAG"),
        ({"root": "ftp://host/runs"}, "--root: expected an absolute path or a URI of gs://, minio://, s3://; got 'ftp"),
        ({"root": "runs"}, "--root: expected an absolute path"),
        ({"root": "s3://bucket/runs", "vertex": True}, "--root: .*gs://"),
        ({"root": "/mnt/runs", "vertex": True}, "--root: Vertex AI keeps artifacts at gs://"),
        ({"logs": "ftp://host/logs"}, "--logs: expected an absolute path or a URI of .*gs://.*; got 'ftp://host/logs'"),
        ({"push_destination": "redis://host"}, "--push-destination: expected an absolute path or a URI of .*gs://"),
        ({"compare_with": "models/1"}, "--compare-with: expected an absolute path"),
        ({"start_reference_from": "/m/1", "start_from": "/m/2"}, "--start-reference-from: expected routing auto or"),
        (
            {"start_reference_from": "/m/1", "routing": "auto"},
            "--start-reference-from: expected a model that the",
        ),
        ({"routing": "plle"}, "unknown routing 'plle', expected one of"),
        ({"runner": "flink"}, "runner flink needs the address"),
        (
            {"runner": "flink", "cluster": Cluster("m:8081", "i:1", "staging")},
            "--artifacts-dir: expected an absolute path, as the image has it, or a URI; got 'staging'",
        ),
        (
            {"runner": "flink", "cluster": Cluster("m:8081", "i:1", "/mnt", job_server_jar="flink.jar")},
            "--job-server-jar: expected an absolute path",
        ),
        ({"resources": ["cpu=-1"]}, "expected a positive number of cores"),
        (
            {"root": "minio://bucket/runs", "runner": "flink", "cluster": Cluster("m:8081", "i:1", "gs://b/staging")},
            "--root: Beam's workers on other machines need a root of gs://",
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_was_given_and_expected(changed, message):
    arguments = {"spec_path": SPEC, "image": IMAGE, "root": ROOT} | changed
    with pytest.raises(UsageError, match=message):
        prepare(**arguments)


def test_a_spec_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="can't be read"):
        prepare(SPEC.with_name("nothing.yaml"), IMAGE, ROOT)
