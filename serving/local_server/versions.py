"""The life of a model's versions: seen, loaded, warmed up, served, unloaded; and refused, if they can't be.

A version goes through the states of TensorFlow Serving's `ModelVersionStatus`: START, LOADING, AVAILABLE, UNLOADING,
END. The next version is AVAILABLE before the one that it replaces goes (`AvailabilityPreservingPolicy` there), and a
version goes only when the last request that uses it has its answer.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tensorflow_serving.apis import get_model_status_pb2, model_pb2

from serving.local_server.directory import Fingerprint, VersionPolicy, aspired, fingerprint, versions_in
from serving.local_server.logs import log
from serving.model.errors import Code, ServingError, invalid, not_found
from serving.model.saved_model import SavedModel, broken_promises

State = get_model_status_pb2.ModelVersionStatus.State
START, LOADING, AVAILABLE, UNLOADING, END = (
    State.Value(name) for name in ("START", "LOADING", "AVAILABLE", "UNLOADING", "END")
)


@dataclass
class Version:
    """One version and where it stands. `seen` is how its folder looked when it was last looked at or tried."""

    number: int
    path: Path
    state: int = START
    error: ServingError | None = None
    seen: Fingerprint | None = None
    model: SavedModel = field(init=False, repr=False)  # from AVAILABLE until its END
    in_flight: int = 0

    def status(self) -> get_model_status_pb2.ModelVersionStatus:
        status = get_model_status_pb2.ModelVersionStatus(version=self.number, state=self.state)
        if self.error is not None:
            status.status.error_code = self.error.code
            status.status.error_message = self.error.message
        else:
            status.status.error_code = Code.OK
        return status


@dataclass
class Versions:
    """The versions of one model in one directory.

    Attributes:
      name: of the model.
      base_path: the directory, one folder a version, named by its number.
      load: makes a model of a version's folder, warmed up; raises ServingError where it can't.
      policy: which versions to serve.
      labels: names that requests may use in place of a version's number.
      keep_contract: refuse a newer version that would break the requests which the serving one answers.
    """

    name: str
    base_path: Path
    load: Callable[[Path], SavedModel]
    policy: VersionPolicy = field(default_factory=VersionPolicy)
    labels: Mapping[str, int] = field(default_factory=dict)
    keep_contract: bool = True

    def __post_init__(self) -> None:
        self._versions: dict[int, Version] = {}
        self._lock = threading.Lock()

    # -- requests

    @contextmanager
    def lease(self, spec: model_pb2.ModelSpec) -> Iterator[tuple[int, SavedModel]]:
        """Yields the version that `spec` asks for, and its model, which stays loaded within the block.

        Raises:
          ServingError: NOT_FOUND, or INVALID_ARGUMENT for an unknown label.
        """
        with self._lock:
            version = self._find_available(spec)
            version.in_flight += 1
            model = version.model
        try:
            yield version.number, model
        finally:
            with self._lock:
                version.in_flight -= 1

    def serving(self) -> bool:
        """Returns whether any version answers requests."""
        with self._lock:
            return any(version.state == AVAILABLE for version in self._versions.values())

    def status(self, spec: model_pb2.ModelSpec) -> list[get_model_status_pb2.ModelVersionStatus]:
        """Returns the status of the version that `spec` names, or of all, the newest first."""
        with self._lock:
            requested = self._wanted(spec)
            if requested is None:
                return [self._versions[number].status() for number in sorted(self._versions, reverse=True)]
            if requested not in self._versions:
                raise not_found(f"Could not find version {requested} of model {self.name}")
            return [self._versions[requested].status()]

    def _find_available(self, spec: model_pb2.ModelSpec) -> Version:
        requested = self._wanted(spec)
        available = [number for number, version in self._versions.items() if version.state == AVAILABLE]
        if requested is None:
            if not available:
                raise not_found(f"Servable not found for request: Latest({self.name}); no version is available")
            return self._versions[max(available)]
        if requested not in available:
            version_list = ", ".join(map(str, sorted(available))) or "none"
            raise not_found(
                f"Servable not found for request: Specific({self.name}, {requested}); available: {version_list}"
            )
        return self._versions[requested]

    def _wanted(self, spec: model_pb2.ModelSpec) -> int | None:
        if spec.name != self.name:
            shown = spec.name[:200] or "(no name)"
            raise not_found(f"Servable not found for request: Latest({shown}); the model served here is {self.name}")
        if spec.HasField("version_label"):
            if spec.version_label not in self.labels:
                label_list = ", ".join(sorted(self.labels)) or "none"
                raise invalid(f"Unrecognized servable version label: {spec.version_label[:200]}; known: {label_list}")
            return self.labels[spec.version_label]
        return spec.version.value if spec.HasField("version") else None

    # -- the directory

    def reconfigure(self, policy: VersionPolicy, labels: Mapping[str, int]) -> None:
        """Takes a new policy and new labels from now on; the next `poll` acts on the policy.

        Raises:
          ServingError: FAILED_PRECONDITION where a label names a version that is not available; then nothing changes.
        """
        with self._lock:
            for label, number in labels.items():
                version = self._versions.get(number)
                if version is None or version.state != AVAILABLE:
                    raise ServingError(
                        Code.FAILED_PRECONDITION,
                        f"label {label!r} can't be given to version {number} of {self.name}: it is not available yet",
                    )
            self.policy, self.labels = policy, dict(labels)
        log("configuration changed", model=self.name, labels=dict(labels))

    def poll(self, settled: bool = False) -> None:
        """Looks at the directory once, and loads and unloads what is due. One thread at a time may call this.

        A folder that changes is left alone until two looks in a row find it the same: its copy may be under way. One
        that was refused is tried again when it has changed. With `settled`, folders are tried at the first look.
        """
        folders = versions_in(self.base_path)
        aspired_versions = aspired(self.policy, folders)
        for number in sorted(aspired_versions):
            with self._lock:
                version = self._versions.setdefault(number, Version(number, folders[number]))
            if version.state in (START, END):
                self._consider(version, settled)
        # An empty or unreachable directory is an accident, not the wish that nothing be served.
        if any(self._versions[number].state == AVAILABLE for number in aspired_versions):
            self._retire_all_but(aspired_versions)
        self._unload_idle()
        with self._lock:
            gone = [n for n, version in self._versions.items() if version.state in (START, END) and n not in folders]
            for number in gone:
                del self._versions[number]

    def _consider(self, version: Version, settled: bool) -> None:
        looks = fingerprint(version.path)
        if looks == version.seen and version.state == END and version.error is not None:
            return
        if looks != version.seen and not settled:
            version.seen, version.state = looks, START
            return
        version.seen = looks
        self._load(version)

    def _load(self, version: Version) -> None:
        log("loading", model=self.name, version=version.number)
        version.state, version.error = LOADING, None
        start = time.monotonic()
        try:
            model = self.load(version.path)
            try:
                if fingerprint(version.path) != version.seen:
                    raise ServingError(Code.ABORTED, f"{version.path.name} changed while it was being loaded")
                self._check_contract(version.number, model)
            except BaseException:
                model.close()
                raise
        except Exception as error:
            refused = error if isinstance(error, ServingError) else ServingError(Code.INTERNAL, repr(error))
            with self._lock:
                version.state, version.error = END, refused
            log(
                "version refused",
                logging.ERROR,
                model=self.name,
                version=version.number,
                code=refused.code.name,
                reason=refused.message,
            )
            return
        with self._lock:
            version.model, version.state = model, AVAILABLE
        log("version available", model=self.name, version=version.number, seconds=round(time.monotonic() - start, 3))

    def _check_contract(self, number: int, model: SavedModel) -> None:
        # Going back to an older version is a deliberate act, and must always work.
        older = [n for n, version in self._versions.items() if version.state == AVAILABLE and n < number]
        if not (self.keep_contract and older):
            return
        problems = broken_promises(self._versions[max(older)].model.signatures, model.signatures)
        if problems:
            reason = f"requests that version {max(older)} answers would fail: {'; '.join(problems)}"
            raise ServingError(Code.FAILED_PRECONDITION, reason)

    def _retire_all_but(self, aspired_versions: set[int]) -> None:
        """Takes the versions that are no longer wanted out of service, once what replaces them is there."""
        pending = {number for number in aspired_versions if self._versions[number].state != AVAILABLE}
        with self._lock:
            for version in self._versions.values():
                if version.state == AVAILABLE and version.number not in aspired_versions and not pending:
                    version.state = UNLOADING
                elif version.state == START and version.number not in aspired_versions:
                    version.state = END

    def _unload_idle(self) -> None:
        for version in list(self._versions.values()):
            with self._lock:
                idle = version.state == UNLOADING and version.in_flight == 0
            if idle:
                self._close(version)

    def _close(self, version: Version) -> None:
        version.model.close()
        del version.model
        with self._lock:
            version.state, version.error, version.seen = END, None, None
        log("version unloaded", model=self.name, version=version.number)

    def stop(self, patience_seconds: float = 10.0) -> None:
        """Takes every version out of service, and unloads those whose requests end within `patience_seconds`."""
        with self._lock:
            for version in self._versions.values():
                if version.state == AVAILABLE:
                    version.state = UNLOADING
        deadline = time.monotonic() + patience_seconds
        while True:
            self._unload_idle()
            if not any(v.state == UNLOADING for v in self._versions.values()) or time.monotonic() > deadline:
                return
            time.sleep(0.01)
