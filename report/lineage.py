"""What a run did, from ML Metadata: which stage read and wrote which artifact, and when."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from report.moved import beside

# As TFX names its contexts.
_RUN, _PIPELINE, _NODE = "pipeline_run", "pipeline", "node"
_READ = (pb.Event.INPUT, pb.Event.DECLARED_INPUT)
_WRITTEN = (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT)


class NoRunError(ValueError):
    """There is no such run."""


@dataclass(frozen=True)
class Used:
    """An artifact as an execution knows it: under a key of its inputs or outputs. `stage` wrote it first."""

    key: str
    artifact: int
    type_name: str
    uri: str
    stage: str
    properties: dict[str, object]


@dataclass(frozen=True)
class Execution:
    """One stage of the run. Times are in seconds since 1970; `state` is `complete`, `cached`, `failed`, …

    `properties` are its execution properties, those of the component's declaration among them.
    """

    stage: str
    state: str
    started: float
    ended: float
    inputs: tuple[Used, ...]
    outputs: tuple[Used, ...]
    properties: dict[str, object]

    def output(self, key: str) -> Used | None:
        """Returns what it wrote under the key; None where it did not."""
        return next((used for used in self.outputs if used.key == key), None)


@dataclass(frozen=True)
class Lineage:
    """A run's executions in the order in which they started."""

    pipeline: str
    run_id: str
    executions: tuple[Execution, ...]

    def stage(self, name: str) -> Execution | None:
        """Returns the latest execution of the stage."""
        return next((execution for execution in reversed(self.executions) if execution.stage == name), None)

    def input(self, stage: str, key: str) -> Used | None:
        """Returns what the stage read under the key; None where it did not."""
        execution = self.stage(stage)
        return next((used for used in execution.inputs if used.key == key), None) if execution else None

    def output(self, stage: str, key: str) -> Used | None:
        """Returns what the stage wrote under the key; None where it did not."""
        execution = self.stage(stage)
        return execution.output(key) if execution else None


def read_run(output: str | Path) -> Lineage:
    """Reads the latest run in a folder that `fulcrum run --output` wrote.

    Raises:
      NoRunError: there is no run in the folder.
    """
    path = Path(output) / "metadata.sqlite"
    if not path.is_file():
        raise NoRunError(
            f"{output}: no run here: expected a folder that `fulcrum run --output` wrote (metadata.sqlite)"
        )
    return read_lineage(path)


def read_lineage(metadata_path: str | Path, run_id: str | None = None) -> Lineage:
    """Reads a run from the SQLite file of ML Metadata; the latest one where none is named.

    Artifacts that lie beside the file are taken from there, wherever the run wrote them.

    Raises:
      NoRunError: there is no such file, or no such run in it.
    """
    if not Path(metadata_path).is_file():
        raise NoRunError(f"{metadata_path}: no metadata here: expected the metadata.sqlite of a run")
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(metadata_path)
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READONLY
    store = mlmd.MetadataStore(config)
    runs = [run for run in store.get_contexts_by_type(_RUN) if run_id is None or run.name == run_id]
    if not runs:
        raise NoRunError(f"{metadata_path}: no run {run_id or 'was started here yet'}")
    run = max(runs, key=lambda context: context.id)
    executions = sorted(store.get_executions_by_context(run.id), key=lambda execution: execution.id)
    contexts = {execution.id: store.get_contexts_by_execution(execution.id) for execution in executions}
    artifacts = _Artifacts(store, [execution.id for execution in executions], Path(metadata_path).parent)
    pipeline = next(
        (c.name for of_execution in contexts.values() for c in of_execution if c.type == _PIPELINE), run.name
    )
    return Lineage(
        pipeline=pipeline,
        run_id=run.name,
        executions=tuple(
            Execution(
                stage=_stage(contexts[execution.id], execution),
                state=pb.Execution.State.Name(execution.last_known_state).lower(),
                started=execution.create_time_since_epoch / 1000,
                ended=execution.last_update_time_since_epoch / 1000,
                inputs=artifacts.of(execution.id, _READ),
                outputs=artifacts.of(execution.id, _WRITTEN),
                properties=_values(execution.custom_properties),
            )
            for execution in executions
        ),
    )


def relative(uris: Sequence[str]) -> dict[str, str]:
    """Returns each URI below the folder that all of them share: a page doesn't tell where it was made."""
    folders = [posixpath.dirname(uri) for uri in uris]
    root = posixpath.commonpath(folders) if folders and len({uri.startswith("/") for uri in uris}) == 1 else ""
    return {uri: posixpath.relpath(uri, root) if root else uri for uri in uris}


class _Artifacts:
    """The artifacts that executions read and wrote, and the stages that wrote them first."""

    def __init__(self, store: mlmd.MetadataStore, executions: list[int], folder: Path):
        self._folder = folder
        self._events = store.get_events_by_execution_ids(executions) if executions else []
        ids = list({event.artifact_id for event in self._events})
        self._artifacts = {artifact.id: artifact for artifact in store.get_artifacts_by_id(ids)} if ids else {}
        first: dict[int, int] = {}
        for event in store.get_events_by_artifact_ids(ids) if ids else []:
            if event.type in _WRITTEN:
                first[event.artifact_id] = min(event.execution_id, first.get(event.artifact_id, event.execution_id))
        writers = {
            execution.id: _stage(store.get_contexts_by_execution(execution.id), execution)
            for execution in store.get_executions_by_id(sorted(set(first.values())))
        }
        self._stages = {artifact: writers[execution] for artifact, execution in first.items()}

    def of(self, execution: int, kinds: Sequence[int]) -> tuple[Used, ...]:
        return tuple(
            self._used(event) for event in self._events if event.execution_id == execution and event.type in kinds
        )

    def _used(self, event: pb.Event) -> Used:
        artifact = self._artifacts[event.artifact_id]
        return Used(
            key=next((step.key for step in event.path.steps if step.key), ""),
            artifact=artifact.id,
            type_name=artifact.type,
            uri=beside(artifact.uri, self._folder),
            stage=self._stages.get(artifact.id, ""),
            properties={
                key: beside(value, self._folder) if isinstance(value, str) and value.startswith("/") else value
                for key, value in _values(artifact.custom_properties).items()
            },
        )


def _values(properties: Mapping[str, pb.Value]) -> dict[str, object]:
    return {key: getattr(value, field) for key, value in properties.items() if (field := value.WhichOneof("value"))}


def _stage(contexts: Sequence[pb.Context], execution: pb.Execution) -> str:
    """Returns the id of the node in the DAG; its type where no context says it."""
    # A node's context is called `<pipeline>.<node>`, and the pipeline's name may have dots.
    names = [context.name.rpartition(".")[2] for context in contexts if context.type == _NODE]
    return names[0] if names and names[0] else execution.type.rpartition(".")[2]
