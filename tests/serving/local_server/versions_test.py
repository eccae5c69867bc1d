"""Versions appear, replace each other, are refused, and go, while the folder is looked at step by step."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tensorflow_serving.apis import model_pb2

from serving.local_server.directory import VersionPolicy, aspired, versions_in
from serving.local_server.versions import Versions
from serving.local_server.warmup import warm_up
from serving.model.errors import Code, ServingError
from serving.model.predict import Limits, find_signature, predict
from serving.model.saved_model import SavedModel


@pytest.fixture
def versions(base_path):
    toy_versions = Versions("toy", base_path, load)
    yield toy_versions
    toy_versions.stop(patience_seconds=1.0)


def load(path: Path) -> SavedModel:
    model = SavedModel(path)
    try:
        warm_up(model, Limits())
    except BaseException:
        model.close()
        raise
    return model


def spec(version: int | None = None, label: str = "") -> model_pb2.ModelSpec:
    model_spec = model_pb2.ModelSpec(name="toy", version_label=label) if label else model_pb2.ModelSpec(name="toy")
    if version is not None:
        model_spec.version.value = version
    return model_spec


def states(versions: Versions) -> dict[int, str]:
    return {
        status.version: status.State.Name(status.state)
        if status.status.error_code == 0
        else status.status.error_message
        for status in versions.status(spec())
    }


def answer(versions: Versions, **which) -> float:
    """2 * 0 + the version's constant, from the version that serves."""
    with versions.lease(spec(**which)) as (_, model):
        zeros = np.zeros(1, np.float32)
        return float(predict(model, find_signature(model, ""), {"x": zeros}, (), Limits())["y"][0])


def put(toys, base_path: Path, version: int, number: int | None = None) -> Path:
    return shutil.copytree(toys(version), base_path / str(number or version))


def poll_twice(versions: Versions) -> None:
    """Once to see the folder, and once to see that it has settled."""
    versions.poll()
    versions.poll()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (VersionPolicy(), {7}),
        (VersionPolicy(latest=VersionPolicy.Latest(num_versions=2)), {3, 7}),
        (VersionPolicy(all=VersionPolicy.All()), {1, 3, 7}),
        (VersionPolicy(specific=VersionPolicy.Specific(versions=[1, 9])), {1}),
    ],
)
def test_the_policy_says_which_versions_are_aspired_to(policy, expected):
    assert aspired(policy, {1, 3, 7}) == expected


def test_only_folders_named_by_a_number_are_versions(tmp_path):
    for name in ("1", "00000042", "-3", "4.5", "x", "²", str(2**64)):
        (tmp_path / name).mkdir()
    (tmp_path / "5").write_text("a file")
    assert versions_in(tmp_path).keys() == {1, 42}
    assert versions_in(tmp_path / "absent") == {}


def test_a_new_version_takes_over_and_the_old_one_is_unloaded(versions, toys, base_path):
    put(toys, base_path, 1)
    versions.poll(settled=True)
    assert answer(versions) == 1.0
    put(toys, base_path, 2)
    versions.poll()
    assert states(versions) == {1: "AVAILABLE", 2: "START"}
    versions.poll()
    assert states(versions) == {1: "END", 2: "AVAILABLE"}
    assert answer(versions) == 2.0


def test_a_version_in_use_is_unloaded_only_when_its_last_request_is_answered(versions, toys, base_path):
    put(toys, base_path, 1)
    versions.poll(settled=True)
    with versions.lease(spec()) as (_, old):
        put(toys, base_path, 2)
        poll_twice(versions)
        assert states(versions) == {1: "UNLOADING", 2: "AVAILABLE"}
        assert predict(old, find_signature(old, ""), {"x": np.zeros(1, np.float32)}, (), Limits())["y"] == [1.0]
        assert answer(versions) == 2.0
    versions.poll()
    assert states(versions)[1] == "END"


def remove_variables(folder: Path) -> None:
    shutil.rmtree(folder / "variables")


def remove_variables_data(folder: Path) -> None:
    next((folder / "variables").glob("*.data-*")).unlink()


def truncate_variables_data(folder: Path) -> None:
    next((folder / "variables").glob("*.data-*")).write_bytes(b"")


def truncate_graph(folder: Path) -> None:
    graph = folder / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:-100])


def remove_graph(folder: Path) -> None:
    (folder / "saved_model.pb").unlink()


def remove_vocabulary(folder: Path) -> None:
    shutil.rmtree(folder / "assets")


def break_warm_up(folder: Path) -> None:
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"not a TFRecord file")


BREAKAGES = {
    remove_variables: "variables.index",
    remove_variables_data: "variables",
    truncate_variables_data: "2 can't be loaded",
    truncate_graph: "2 can't be loaded",
    remove_graph: "no saved_model.pb",
    remove_vocabulary: "2 can't be loaded",
    break_warm_up: "tf_serving_warmup_requests",
}


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.__name__)
def test_a_broken_version_is_refused_with_the_reason_until_it_is_mended(breakage, versions, toys, base_path):
    put(toys, base_path, 1)
    versions.poll(settled=True)
    breakage(put(toys, base_path, 2))
    poll_twice(versions)
    assert BREAKAGES[breakage] in states(versions)[2]
    assert versions.status(spec(2))[0].State.Name(versions.status(spec(2))[0].state) == "END"
    assert answer(versions) == 1.0
    with pytest.raises(ServingError, match="available: 1"):
        answer(versions, version=2)

    shutil.rmtree(base_path / "2")
    put(toys, base_path, 2)
    poll_twice(versions)
    assert states(versions) == {1: "END", 2: "AVAILABLE"}


def test_a_version_is_left_alone_as_long_as_its_copy_goes_on(versions, toys, base_path):
    put(toys, base_path, 1)
    versions.poll(settled=True)
    source, target = toys(2), base_path / "2"
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        copied = target / file.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copied)
        versions.poll()
        assert states(versions) == {1: "AVAILABLE", 2: "START"}
    versions.poll()
    assert states(versions) == {1: "END", 2: "AVAILABLE"}


def test_a_copy_that_paused_is_refused_and_taken_once_it_is_complete(versions, toys, base_path):
    put(toys, base_path, 1)
    versions.poll(settled=True)
    (base_path / "2").mkdir()
    shutil.copyfile(toys(2) / "saved_model.pb", base_path / "2" / "saved_model.pb")
    poll_twice(versions)
    assert "2 can't be loaded" in states(versions)[2]
    shutil.copytree(toys(2), base_path / "2", dirs_exist_ok=True)
    poll_twice(versions)
    assert states(versions)[2] == "AVAILABLE"


def test_a_refused_version_is_not_tried_again_before_it_changes(toys, base_path):
    attempts = []

    def counted(path: Path) -> SavedModel:
        attempts.append(path.name)
        return load(path)

    versions = Versions("toy", base_path, counted)
    remove_graph(put(toys, base_path, 1))
    for _ in range(5):
        versions.poll()
    assert attempts == ["1"]


def test_a_version_without_a_signature_that_clients_use_is_refused(versions, toys, base_path, kit):
    put(toys, base_path, 1)
    versions.poll(settled=True)
    kit.export_toy(base_path / "2", 2, signatures=("texts", "typed"))
    poll_twice(versions)
    assert "version 1 answers would fail: signature 'rank' is gone; signature 'weighted' is gone" in states(versions)[2]
    assert answer(versions) == 1.0


def test_a_version_with_another_signature_more_is_taken_and_gone_back_from(versions, base_path, kit):
    kit.export_toy(base_path / "1", 1, signatures=())
    versions.poll(settled=True)
    kit.export_toy(base_path / "2", 2, signatures=("texts",))
    poll_twice(versions)
    assert answer(versions) == 2.0
    shutil.rmtree(base_path / "2")
    poll_twice(versions)
    assert answer(versions) == 1.0


def test_an_emptied_directory_leaves_the_serving_version_in_place(versions, toys, base_path):
    put(toys, base_path, 1)
    versions.poll(settled=True)
    shutil.rmtree(base_path)
    poll_twice(versions)
    assert answer(versions) == 1.0


def test_a_canary_is_served_beside_the_stable_version_promoted_and_rolled_back(versions, toys, base_path):
    put(toys, base_path, 1)
    versions.poll(settled=True)
    put(toys, base_path, 2)
    both = VersionPolicy(specific=VersionPolicy.Specific(versions=[1, 2]))
    with pytest.raises(ServingError, match="not available yet") as caught:
        versions.reconfigure(both, {"canary": 2})
    assert caught.value.code == Code.FAILED_PRECONDITION

    versions.reconfigure(both, {"stable": 1})
    poll_twice(versions)
    versions.reconfigure(both, {"stable": 1, "canary": 2})
    assert (answer(versions, label="stable"), answer(versions, label="canary")) == (1.0, 2.0)
    versions.reconfigure(both, {"stable": 2, "canary": 2})
    assert answer(versions, label="stable") == 2.0
    versions.reconfigure(VersionPolicy(specific=VersionPolicy.Specific(versions=[1])), {"stable": 1})
    poll_twice(versions)
    assert answer(versions, label="stable") == 1.0
    assert states(versions) == {1: "AVAILABLE", 2: "END"}


def test_warm_up_replays_the_requests_and_refuses_a_version_that_fails_them(versions, toys, base_path, kit):
    folder = put(toys, base_path, 1)
    rank = kit.make_request("rank", user=[b"u"], item=[b"pear"], price=np.ones(1, np.float32))
    kit.write_warm_up(folder, [kit.make_request(x=[1.0]), rank])
    model = SavedModel(folder)
    assert warm_up(model, Limits()) == 2
    model.close()
    kit.write_warm_up(folder, [kit.make_request(x=[1.0]), kit.make_request(z=[1.0])])
    versions.poll(settled=True)
    assert "warm-up request 2" in states(versions)[1]
    kit.write_warm_up(folder, [kit.make_request(x=[1.0])] * 1_001)
    poll_twice(versions)
    assert "more than 1,000" in states(versions)[1]
