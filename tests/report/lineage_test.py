"""The one reader of ML Metadata."""

from pathlib import Path

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from report.lineage import NoRunError, read_lineage, read_run

PIPELINE = "shortvideo-v1.2"


class Metadata:
    """A store with runs in it, as TFX leaves them."""

    def __init__(self, folder: Path):
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = str(folder / "metadata.sqlite")
        config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self._store = mlmd.MetadataStore(config)

    def _context(self, kind: str, name: str) -> int:
        kind_id = self._store.put_context_type(pb.ContextType(name=kind))
        existing = self._store.get_context_by_type_and_name(kind, name)
        return existing.id if existing else self._store.put_contexts([pb.Context(type_id=kind_id, name=name)])[0]

    def execute(self, run: str, stage: str, output: str, state: int = pb.Execution.COMPLETE) -> None:
        type_id = self._store.put_execution_type(pb.ExecutionType(name=f"tfx.components.{stage}"))
        (execution,) = self._store.put_executions([pb.Execution(type_id=type_id, last_known_state=state)])
        artifact_type = self._store.put_artifact_type(pb.ArtifactType(name="Model"))
        artifact = pb.Artifact(type_id=artifact_type, uri=output)
        artifact.custom_properties["pushed"].int_value = 1
        (artifact_id,) = self._store.put_artifacts([artifact])
        event = pb.Event(artifact_id=artifact_id, execution_id=execution, type=pb.Event.OUTPUT)
        event.path.steps.add(key="model")
        self._store.put_events([event])
        contexts = [("pipeline", PIPELINE), ("pipeline_run", run), ("node", f"{PIPELINE}.{stage}")]
        associations = [
            pb.Association(context_id=self._context(kind, name), execution_id=execution) for kind, name in contexts
        ]
        self._store.put_attributions_and_associations([], associations)


def test_the_latest_run_is_read_unless_one_is_named(tmp_path: Path):
    metadata = Metadata(tmp_path)
    metadata.execute("first", "Trainer", "model/1")
    metadata.execute("second", "Trainer", "model/2", pb.Execution.FAILED)
    latest = read_run(tmp_path)
    assert (latest.pipeline, latest.run_id) == (PIPELINE, "second")
    assert [(execution.stage, execution.state) for execution in latest.executions] == [("Trainer", "failed")]
    written = read_lineage(tmp_path / "metadata.sqlite", "first").output("Trainer", "model")
    assert written is not None
    assert (written.uri, written.stage, written.properties) == ("model/1", "Trainer", {"pushed": 1})


def test_a_folder_without_a_run_is_named(tmp_path: Path):
    with pytest.raises(
        NoRunError, match=f"{tmp_path}: no run here: expected a folder that `fulcrum run --output` wrote"
    ):
        read_run(tmp_path)
    with pytest.raises(NoRunError, match="no metadata here"):
        read_lineage(tmp_path / "metadata.sqlite")
    Metadata(tmp_path).execute("first", "Trainer", "model/1")
    with pytest.raises(NoRunError, match="no run second"):
        read_lineage(tmp_path / "metadata.sqlite", "second")
