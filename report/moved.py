"""A run's folder that has been moved or copied: ML Metadata names its artifacts by where they were written."""

import os
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

# What `fulcrum run` writes below its output, beside the metadata.
_FOLDERS = ("artifacts", "serving", "state", "checkpoints")


def beside(path: str, output: str | Path) -> str:
    """Returns where a path of a run's artifact lies below its `output` today; the path itself if it isn't there."""
    for folder in _FOLDERS:
        before, separator, below = path.rpartition(f"/{folder}/")
        here = Path(output).absolute() / folder / below
        if separator and before != str(Path(output).absolute()) and here.exists():
            return str(here)
    return path


def adopt(output: Path) -> None:
    """Makes the metadata of a run's folder say where its artifacts lie today, and which of them are gone.

    The cache then takes what lies beside the metadata, and runs those stages again whose artifacts hold no file.
    """
    metadata = output / "metadata.sqlite"
    if not metadata.is_file():
        return
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(metadata)
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE
    store = mlmd.MetadataStore(config)
    changed = []
    for artifact in store.get_artifacts():
        uri, state = beside(artifact.uri, output), artifact.state
        if state == pb.Artifact.LIVE and _is_emptied(uri, artifact):
            state = pb.Artifact.DELETED
        if (uri, state) != (artifact.uri, artifact.state):
            artifact.uri, artifact.state = uri, state
            changed.append(artifact)
    if changed:
        store.put_artifacts(changed)


def _is_emptied(uri: str, artifact: pb.Artifact) -> bool:
    """Returns whether an artifact on this machine holds no file; one that says it is none never did."""
    if "://" in uri or not os.path.isabs(uri) or "no_model" in artifact.custom_properties:
        return False
    return not os.path.isfile(uri) and not any(names for _, _, names in os.walk(uri))
