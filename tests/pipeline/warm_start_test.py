from pathlib import Path

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.types import standard_artifacts

from pipeline.warm_start import LatestBlessedPairStrategy


class Runs:
    """Metadata of trainings and evaluations, and the artifacts that a resolver is given."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.store = MetadataStore(mlmd.ConnectionConfig(fake_database=mlmd.FakeDatabaseConfig()))
        self.artifact_type = self.store.put_artifact_type(mlmd.ArtifactType(name="Any"))
        self.execution_type = self.store.put_execution_type(mlmd.ExecutionType(name="SeesawEvaluator"))
        self.models: list[standard_artifacts.Model] = []
        self.references: list[standard_artifacts.Model] = []
        self.blessings: list[standard_artifacts.ModelBlessing] = []

    def train(self) -> standard_artifacts.Model:
        artifact = standard_artifacts.Model()
        artifact.id = self._new_id()
        saved = self.folder / str(artifact.id) / "Format-Serving"
        saved.mkdir(parents=True)
        (saved / "saved_model.pb").write_bytes(b"graph")
        artifact.uri = str(saved.parent)
        self.models.append(artifact)
        return artifact

    def train_reference(self) -> standard_artifacts.Model:
        self.references.append(self.train())
        return self.references[-1]

    def judge(
        self, model: standard_artifacts.Model, reference: standard_artifacts.Model | None = None, blessed: bool = True
    ) -> None:
        blessing = standard_artifacts.ModelBlessing()
        blessing.id = self._new_id()
        blessing.set_int_custom_property("current_model_id", model.id)
        blessing.set_int_custom_property("blessed", int(blessed))
        self.blessings.append(blessing)
        (execution,) = self.store.put_executions([mlmd.Execution(type_id=self.execution_type)])
        events = [event(execution, model.id, "model", mlmd.Event.INPUT)]
        if reference:
            events.append(event(execution, reference.id, "reference_model", mlmd.Event.INPUT))
        self.store.put_events([*events, event(execution, blessing.id, "blessing", mlmd.Event.OUTPUT)])

    def started_from(self) -> list[int]:
        """The ids of the model and of the reference that the next training starts from."""
        given = {"model": [*self.models], "model_blessing": [*self.blessings], "reference": [*self.references]}
        resolved = LatestBlessedPairStrategy().resolve_artifacts(self.store, given)
        return [artifact.id for name in ("model", "reference") for artifact in resolved[name]]

    def _new_id(self) -> int:
        (number,) = self.store.put_artifacts([mlmd.Artifact(type_id=self.artifact_type)])
        return number


def event(execution: int, artifact: int, key: str, kind: int) -> mlmd.Event:
    steps = [mlmd.Event.Path.Step(key=key), mlmd.Event.Path.Step(index=0)]
    return mlmd.Event(execution_id=execution, artifact_id=artifact, type=kind, path=mlmd.Event.Path(steps=steps))


@pytest.fixture
def runs(tmp_path) -> Runs:
    return Runs(tmp_path)


def test_the_reference_is_what_the_blessed_model_was_compared_with(runs):
    reference, model = runs.train_reference(), runs.train()
    runs.judge(model, reference)
    # Another run of the same day, of another size, which wasn't blessed.
    runs.judge(runs.train(), runs.train_reference(), blessed=False)
    assert runs.started_from() == [model.id, reference.id]


def test_of_two_blessed_models_the_later_and_its_reference_count(runs):
    for _ in range(2):
        reference, model = runs.train_reference(), runs.train()
        runs.judge(model, reference)
    assert runs.started_from() == [model.id, reference.id]


def test_a_model_without_a_reference_is_started_from_alone(runs):
    runs.judge(runs.train(), runs.train_reference())
    model = runs.train()
    runs.judge(model)
    assert runs.started_from() == [model.id]


def test_a_reference_whose_files_are_gone_is_none(runs):
    reference, model = runs.train_reference(), runs.train()
    runs.judge(model, reference)
    Path(reference.uri, "Format-Serving", "saved_model.pb").unlink()
    assert runs.started_from() == [model.id]


def test_without_a_blessed_model_there_is_nothing_to_start_from(runs):
    assert runs.started_from() == []
    runs.judge(runs.train(), runs.train_reference(), blessed=False)
    assert runs.started_from() == []
