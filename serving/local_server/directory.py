"""Which versions lie in a model's directory, and which of them are meant to be served."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import TypeAlias

from tensorflow_serving.config import file_system_storage_path_source_pb2

VersionPolicy: TypeAlias = file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy
# Names, sizes and times of the files in a version's folder: it changes as long as the version is being copied.
Fingerprint = tuple[tuple[str, int, int], ...]


def versions_in(base_path: Path) -> dict[int, Path]:
    """Returns the version folders under `base_path`, those named by a whole number; none without such a directory."""
    try:
        with os.scandir(base_path) as entries:
            folders = [entry for entry in entries if entry.name.isascii() and entry.name.isdigit() and entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {int(folder.name): base_path / folder.name for folder in folders if int(folder.name) < 2**63}


def fingerprint(folder: Path) -> Fingerprint:
    """Returns what can be told of the files in `folder` without reading them."""
    files = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            try:
                stat = os.stat(path)
            except FileNotFoundError:  # renamed meanwhile: the next look sees it under its new name
                continue
            files.append((os.path.relpath(path, folder), stat.st_size, stat.st_mtime_ns))
    return tuple(sorted(files))


def aspired(policy: VersionPolicy, present: Collection[int]) -> set[int]:
    """Returns those of the `present` versions that `policy` wants served: the latest one where it does not say."""
    if policy.HasField("specific"):
        return set(policy.specific.versions) & set(present)
    if policy.HasField("all"):
        return set(present)
    return set(sorted(present)[-(policy.latest.num_versions or 1) :])
