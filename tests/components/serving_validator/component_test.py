"""The component on real SavedModels: what is blessed can be pushed and served, what is not has its reason."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import tensorflow as tf
import tfx.v1 as tfx
from tensorflow.core.protobuf import saved_model_pb2
from tfx.components.pusher import executor as pusher
from tfx.components.util import model_utils
from tfx.proto import pusher_pb2
from tfx.types import channel_utils, standard_artifacts
from tfx.utils import proto_utils

from components.serving_validator.component import ServingValidator
from components.serving_validator.executor import Executor
from components.serving_validator.probe import JOB, RECORDS, Job, Probe
from schema.stages import serving_part
from serving.local_server.warmup import WARMUP_FILE, warm_up
from serving.model.predict import Limits
from serving.model.saved_model import SavedModel


@pytest.fixture
def validate(tmp_path: Path, spec, examples) -> Callable[..., standard_artifacts.InfraBlessing]:
    """Runs the component's executor with the component's own properties."""

    def run(model: standard_artifacts.Model, **settings) -> standard_artifacts.InfraBlessing:
        channels = {
            name: channel_utils.as_channel([artifact]) for name, artifact in (("model", model), ("examples", examples))
        }
        component = ServingValidator(spec, **channels, **{"candidates": 50, "timeout_s": 120, **settings})
        blessing = standard_artifacts.InfraBlessing()
        blessing.uri = str(tmp_path / "blessing")
        Path(blessing.uri).mkdir()
        Executor().Do({"model": [model], "examples": [examples]}, {"blessing": [blessing]}, component.exec_properties)
        return blessing

    return run


@pytest.fixture
def findings(tmp_path: Path, spec, records) -> Callable[..., list[str]]:
    """What the executor's process finds of a model that leaves the process alive, found in this one."""

    def find(model: standard_artifacts.Model, max_latency_ms: float = 1e9) -> list[str]:
        folder = tmp_path / "probe"
        folder.mkdir()
        job = Job(f"{model.uri}/Format-Serving", spec.to_json(), candidates=50, max_latency_ms=max_latency_ms)
        (folder / JOB).write_text(json.dumps(asdict(job)))
        with tf.io.TFRecordWriter(str(folder / RECORDS)) as writer:
            for record in records:
                writer.write(record)
        return Probe(folder).run().findings

    return find


def _push(blessing: standard_artifacts.InfraBlessing, folder: Path) -> standard_artifacts.PushedModel:
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(folder / "pushed")
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(folder / "serving"))
    )
    pusher.Executor().Do(
        {"infra_blessing": [blessing]},
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination)},
    )
    return pushed


def _reason(blessing: standard_artifacts.InfraBlessing) -> str:
    assert not model_utils.is_infra_validated(blessing)
    assert (Path(blessing.uri) / "INFRA_NOT_BLESSED").is_file()
    return blessing.get_string_custom_property("reason")


def test_a_sound_model_is_blessed_pushed_and_serves_its_warm_up_requests(validate, save_model, tmp_path):
    blessing = validate(save_model())
    assert model_utils.is_infra_validated(blessing), blessing.get_string_custom_property("reason")
    assert 0 < blessing.get_float_custom_property("rank_p50_ms") <= blessing.get_float_custom_property("rank_p99_ms")
    pushed = _push(blessing, tmp_path)
    model = SavedModel(Path(pushed.get_string_custom_property("pushed_destination")))
    try:
        # The server's own limits, under which NaN is refused.
        assert 20 <= warm_up(model, Limits()) <= 1_000
    finally:
        model.close()


def test_pusher_takes_the_warmed_copy_from_the_blessing_in_a_pipeline(save_model, spec, examples, tmp_path):
    model = tfx.dsl.Importer(source_uri=save_model().uri, artifact_type=standard_artifacts.Model).with_id("model")
    raw = tfx.dsl.Importer(
        source_uri=examples.uri,
        artifact_type=standard_artifacts.Examples,
        properties={"split_names": examples.split_names},
    ).with_id("examples")
    validator = ServingValidator(
        spec, model=model.outputs["result"], examples=raw.outputs["result"], num_examples=10, candidates=5
    )
    destination = tfx.proto.PushDestination(
        filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(tmp_path / "serving"))
    )
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="push",
            pipeline_root=str(tmp_path / "root"),
            components=[
                model,
                raw,
                validator,
                tfx.components.Pusher(infra_blessing=validator.outputs["blessing"], push_destination=destination),
            ],
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                str(tmp_path / "metadata.sqlite")
            ),
        )
    )
    (version,) = (tmp_path / "serving").iterdir()
    assert (version / WARMUP_FILE).is_file()


def test_a_model_whose_rank_disagrees_with_serving_default_is_refused_and_not_pushed(validate, save_model, tmp_path):
    blessing = validate(save_model(lambda features: 0.01 * features["battery"]))
    reason = _reason(blessing)
    assert "'rank'" in reason
    assert "view" in reason
    assert _push(blessing, tmp_path).get_int_custom_property("pushed") == 0


def test_a_model_above_the_latency_limit_is_refused(findings, save_model):
    (reason,) = findings(save_model(), max_latency_ms=0.001)
    assert reason.startswith("'rank' of 50 candidates takes")
    assert reason.endswith("above the limit of 0.001 ms")


def test_a_model_that_aborts_its_process_is_refused_with_its_last_words(validate, save_model):
    def abort(features):
        with tf.control_dependencies([tf.raw_ops.Abort(error_msg="out of order")]):
            return tf.constant(0.0)

    reason = _reason(validate(save_model(abort)))
    assert "died of SIGABRT: it was answering 'rank'" in reason
    assert "out of order" in reason


def test_a_model_that_hangs_is_killed_and_refused(validate, save_model):
    def wait_for_what_never_comes(features):
        queue = tf.raw_ops.FIFOQueueV2(component_types=[tf.float32], shapes=[[]], shared_name="never")
        return tf.raw_ops.QueueDequeueV2(handle=queue, component_types=[tf.float32])[0]

    reason = _reason(validate(save_model(wait_for_what_never_comes), timeout_s=12))
    assert reason.startswith("the model's process was not done after 12 s and was killed: it was ")


def test_a_model_with_an_operation_of_another_library_is_refused_by_its_name(findings, save_model):
    model = save_model()
    path = Path(model.uri, "Format-Serving", "saved_model.pb")
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    nodes = [n for f in saved.meta_graphs[0].graph_def.library.function for n in f.node_def]
    node = next(node for node in nodes if node.op == "StringToHashBucketFast")
    node.op = "SentencepieceTokenizeOp"
    path.write_bytes(saved.SerializeToString())
    (reason,) = findings(model)
    assert "SentencepieceTokenizeOp" in reason
    assert node.name in reason


def test_a_model_that_calls_python_is_refused(findings, save_model):
    model = save_model(lambda features: tf.numpy_function(lambda x: x, [features["battery"]], tf.float32))
    assert "PyFunc" in "; ".join(findings(model))


def test_a_model_without_a_signature_is_refused(findings, save_model):
    (reason,) = findings(save_model(without=["predict"]))
    assert reason == "signature 'predict' is missing; the model has rank, serving_default"


def test_a_model_without_its_variables_is_refused(findings, save_model):
    model = save_model()
    shutil.rmtree(Path(model.uri, "Format-Serving", "variables"))
    (reason,) = findings(model)
    assert "variables" in reason


def test_a_half_copied_model_is_refused(findings, save_model):
    model = save_model()
    path = Path(model.uri, "Format-Serving", "saved_model.pb")
    path.write_bytes(path.read_bytes()[:1000])
    (reason,) = findings(model)
    assert "saved_model.pb is not a SavedModel" in reason


def test_what_requests_do_not_depend_on_is_no_part_of_the_properties(spec):
    trained_longer = spec.model_copy(update={"training": spec.training.model_copy(update={"epochs": 9})})
    assert serving_part(trained_longer).to_json() == serving_part(spec).to_json()
    task = spec.tasks[0].model_copy(update={"exponent": 3.0})
    changed = spec.model_copy(update={"tasks": (task, spec.tasks[1])})
    assert serving_part(changed).to_json() != serving_part(spec).to_json()


def test_a_limit_that_is_not_positive_is_refused_when_the_pipeline_is_built(spec, examples, save_model):
    channels = {"model": channel_utils.as_channel([save_model()]), "examples": channel_utils.as_channel([examples])}
    with pytest.raises(ValueError, match="candidates: expected a positive number, got 0"):
        ServingValidator(spec, **channels, candidates=0)


def test_a_split_that_does_not_exist_stops_the_run(validate, save_model):
    with pytest.raises(ValueError, match=r"split: expected one of train, test, got 'future'"):
        validate(save_model(), split="future")


def test_an_example_that_is_not_the_specs_stops_the_run_and_blames_no_model(validate, save_model, examples):
    with tf.io.TFRecordWriter(f"{examples.uri}/Split-train/x.gz", options="GZIP") as writer:
        writer.write(tf.train.Example().SerializeToString())
    with pytest.raises(ValueError, match="example 0: 'user_id' holds 0 values"):
        validate(save_model(), split="train")


def test_a_split_without_examples_stops_the_run(validate, save_model):
    with pytest.raises(ValueError, match="has no examples"):
        validate(save_model(), split="train")
