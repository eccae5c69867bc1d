"""A run's folder that was moved, copied or emptied: what lies beside the metadata counts."""

import shutil
from pathlib import Path

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from report.lineage import read_run
from report.moved import adopt, beside


def store_in(folder: Path) -> mlmd.MetadataStore:
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(folder / "metadata.sqlite")
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return mlmd.MetadataStore(config)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with one run of one stage, which wrote two artifacts."""
    folder = tmp_path / "old"
    store_folder = folder / "artifacts/Trainer"
    for name in ("model", "model_run"):
        (store_folder / name / "7").mkdir(parents=True)
        (store_folder / name / "7" / "weights").write_text(name)
    store = store_in(folder)
    model_type = store.put_artifact_type(pb.ArtifactType(name="Model"))
    artifacts = store.put_artifacts(
        [
            pb.Artifact(type_id=model_type, uri=str(store_folder / name / "7"), state=pb.Artifact.LIVE)
            for name in ("model", "model_run")
        ]
    )
    execution_kind = store.put_execution_type(pb.ExecutionType(name="x.Trainer"))
    (execution,) = store.put_executions([pb.Execution(type_id=execution_kind)])
    context_kind = store.put_context_type(pb.ContextType(name="pipeline_run"))
    (context,) = store.put_contexts([pb.Context(type_id=context_kind, name="first")])
    store.put_attributions_and_associations([], [pb.Association(execution_id=execution, context_id=context)])
    events = []
    for artifact, key in zip(artifacts, ("model", "model_run"), strict=True):
        event = pb.Event(artifact_id=artifact, execution_id=execution, type=pb.Event.OUTPUT)
        event.path.steps.add().key = key
        events.append(event)
    store.put_events(events)
    return folder


def states(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        Path(artifact.uri).parent.name: (artifact.uri, artifact.state) for artifact in store_in(folder).get_artifacts()
    }


def test_a_copy_is_read_from_where_it_lies_and_the_original_from_its_own_place(run):
    copy = run.parent / "copy [1]"
    shutil.copytree(run, copy)
    for folder in (run, copy):
        (execution,) = read_run(folder).executions
        model = execution.output("model")
        assert model is not None
        assert model.uri == str(folder / "artifacts/Trainer/model/7")


def test_a_run_in_a_moved_folder_takes_over_what_lies_there(run):
    moved = run.rename(run.parent / "new")
    adopt(moved)
    expected = {
        name: (str(moved / "artifacts/Trainer" / name / "7"), pb.Artifact.LIVE) for name in ("model", "model_run")
    }
    assert states(moved) == expected


def test_an_artifact_that_was_emptied_is_no_longer_live(run):
    adopt(run)
    assert {state for _, state in states(run).values()} == {pb.Artifact.LIVE}
    (run / "artifacts/Trainer/model/7/weights").unlink()
    adopt(run)
    assert {name: state for name, (_, state) in states(run).items()} == {
        "model": pb.Artifact.DELETED,
        "model_run": pb.Artifact.LIVE,
    }


def test_what_lies_nowhere_keeps_its_name(tmp_path):
    assert beside("/far/artifacts/Trainer/model/7", tmp_path) == "/far/artifacts/Trainer/model/7"
    assert beside("gs://bucket/model", tmp_path) == "gs://bucket/model"
    adopt(tmp_path)
