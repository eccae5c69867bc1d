"""The first component of a compiled pipeline: what is wrong with a run's parameters is said before all else."""

from pathlib import Path

import pytest
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.preflight.executor import Executor, ParameterError
from components.preflight.fetched_models import find_saved_model
from schema.loading import load_spec

SPEC = load_spec(Path(__file__).parents[3] / "schema" / "specs" / "deskdrop.yaml")


@pytest.fixture
def logs(tmp_path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "users_interactions.csv.zip").write_bytes(b"")
    return folder


def pushed_model(folder: Path, version: int) -> Path:
    saved = folder / str(version)
    (saved / "assets.extra").mkdir(parents=True)
    (saved / "saved_model.pb").write_bytes(b"graph")
    (saved / "assets.extra" / "ranking_spec.json").write_text(SPEC.to_json())
    return saved


def preflight(tmp_path: Path, **changed: object) -> dict[str, standard_artifacts.Model]:
    outputs = {}
    for name in ("baseline_model", "base_model", "reference_base_model"):
        outputs[name] = standard_artifacts.Model()
        outputs[name].uri = str(tmp_path / "artifacts" / name)
    parameters = {
        "spec": SPEC.to_json(),
        "routings": "cgc,ple",
        "logs": str(tmp_path / "logs"),
        "window": "",
        "state": str(tmp_path / "state"),
        "epochs": 3,
        "routing": "ple",
        "compare_with": "",
        "start_from": "",
        "start_reference_from": "",
        "push_destination": str(tmp_path / "serving"),
        "beam_args": "--runner=FnApiRunner",
    }
    properties = {name: value for name, value in (parameters | changed).items() if value is not None}
    Executor().Do({}, {name: [model] for name, model in outputs.items()}, properties)
    return outputs


def test_an_empty_parameter_gives_an_artifact_that_says_it_holds_no_model(tmp_path, logs):
    for model in preflight(tmp_path).values():
        assert model.get_int_custom_property("no_model") == 1
        assert find_saved_model(model.uri) is None


def test_of_a_folder_of_versions_the_newest_whole_one_is_fetched(tmp_path, logs):
    for version in (9, 10):
        pushed_model(tmp_path / "pushed", version)
    (tmp_path / "pushed" / "11").mkdir()
    baseline = preflight(tmp_path, compare_with=str(tmp_path / "pushed"))["baseline_model"]
    assert find_saved_model(str(tmp_path / "pushed")) == str(tmp_path / "pushed" / "10")
    copied = Path(path_utils.serving_model_path(baseline.uri))
    assert (copied / "saved_model.pb").read_bytes() == b"graph"
    assert not baseline.has_custom_property("no_model")


def test_a_saved_model_and_a_model_artifact_are_found_as_well(tmp_path):
    saved = pushed_model(tmp_path, 1)
    assert find_saved_model(f"{saved}/") == str(saved)
    artifact = pushed_model(tmp_path / "artifact", 1).rename(tmp_path / "artifact" / "Format-Serving")
    assert find_saved_model(str(tmp_path / "artifact")) == str(artifact)


def test_a_window_beyond_the_data_is_refused_with_the_days_that_there_are(tmp_path, logs):
    daily = tmp_path / "daily" / "2026-11-24"
    daily.mkdir(parents=True)
    for file in logs.iterdir():
        (daily / file.name).write_bytes(file.read_bytes())
    preflight(tmp_path, logs=str(tmp_path / "daily"), window="1d:2026-11-24")
    with pytest.raises(ParameterError, match="no files of 2026-11-25; it has 2026-11-24 to 2026-11-24"):
        preflight(tmp_path, logs=str(tmp_path / "daily"), window="2d:2026-11-25")


def test_everything_that_is_wrong_is_said_at_once(tmp_path, logs):
    (tmp_path / "empty").mkdir()
    foreign = pushed_model(tmp_path / "foreign", 1)
    (foreign / "assets.extra" / "ranking_spec.json").unlink()
    with pytest.raises(ParameterError) as error:
        preflight(
            tmp_path,
            logs="ftp://host/logs",
            epochs=-1,
            push_destination="redis://host",
            compare_with=str(tmp_path / "empty"),
            start_from=str(foreign),
            beam_args="--direct_num_workers=many",
        )
    lines = str(error.value).splitlines()
    names = ["logs", "epochs", "push_destination", "beam_args", "compare_with", "start_from"]
    assert [line.strip().partition(":")[0] for line in lines[1:]] == names
    assert "expected an absolute path or a URI of" in lines[1]
    assert "got 'ftp://host/logs'" in lines[1]
    assert "expected at least 0, got -1" in lines[2]
    assert "found none in" in lines[5]


@pytest.mark.parametrize(
    ("reference", "start", "message"),
    [
        (False, "1", "start_reference_from: expected routing auto or `training.reference`"),
        (True, "", r"start_reference_from: expected a model that the ranker starts from too"),
    ],
)
def test_a_reference_starts_from_a_model_where_one_is_trained_and_the_ranker_does(
    tmp_path, logs, reference, start, message
):
    saved = str(pushed_model(tmp_path / "pushed", 1))
    spec = SPEC.with_training(routing="ple", reference=reference).to_json()
    with pytest.raises(ParameterError, match=message):
        preflight(tmp_path, spec=spec, start_from=start and saved, start_reference_from=saved)


def test_both_models_that_training_starts_from_are_fetched(tmp_path, logs):
    saved = [str(pushed_model(tmp_path / "pushed", version)) for version in (1, 2)]
    spec = SPEC.with_training(reference=True).to_json()
    models = preflight(tmp_path, spec=spec, start_from=saved[0], start_reference_from=saved[1])
    assert all(find_saved_model(models[name].uri) for name in ("base_model", "reference_base_model"))


def test_a_pipeline_compiled_before_a_parameter_was_declared_runs_without_it(tmp_path, logs):
    preflight(tmp_path, beam_args=None, start_reference_from=None)


def test_the_state_is_of_no_matter_without_a_window(tmp_path, logs):
    preflight(tmp_path, state="minio://bucket/state")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"logs": "/nothing/here"}, "logs: log.files: the pattern .* matches no file in /nothing/here"),
        ({"window": "a week"}, "window: expected DAYS:LAST such as 7d:2026-11-25 .*, got 'a week'"),
        ({"window": "2d:2026-11-25"}, "no folder of a day .* holds a file that matches"),
        ({"window": "2d:2026-11-25", "state": "ftp://host"}, "state: expected an absolute path or a URI of"),
        ({"routing": "plle"}, "routing: expected one of cgc, ple, got 'plle'"),
        ({"beam_args": "--runner='FnApiRunner"}, "beam_args: No closing quotation"),
    ],
)
def test_a_wrong_parameter_is_named(tmp_path, logs, changed, message):
    with pytest.raises(ParameterError, match=message):
        preflight(tmp_path, **changed)
