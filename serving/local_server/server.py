"""The local model server: speaks TensorFlow Serving's gRPC and REST APIs, for trying things out and for CI.

It is a stand-in; production is TensorFlow Serving itself (`serving/tensorflow_serving/`).
"""

import gc
import logging
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from serving.gateway.completing import Completing
from serving.gateway.handler import GatewayHandler
from serving.gateway.request_log import RequestLog
from serving.local_server.directory import VersionPolicy, versions_in
from serving.local_server.handler import Handler, RequestHandler
from serving.local_server.listener import Listener
from serving.local_server.logs import log
from serving.local_server.prometheus import Metrics
from serving.local_server.versions import Versions
from serving.local_server.warmup import warm_up
from serving.model.errors import Code, ServingError
from serving.model.predict import Limits
from serving.model.saved_model import SavedModel


@dataclass(frozen=True)
class ServerOptions:
    """How a model is served.

    Attributes:
      name: of the model in requests; the directory's name if empty.
      host: the address to listen on; the loopback only, unless another one is asked for.
      grpc_port: 0 takes a free one.
      rest_port: 0 takes a free one.
      policy: which versions to serve: the latest one if empty.
      labels: names for versions, such as `stable` and `canary`.
      keep_contract: refuse a newer version that would break the requests which the serving one answers.
      limits: what a request may ask for at most.
      poll_seconds: how often the directory is looked at.
      threads: requests answered at once, per protocol.
      intra_op_threads: TensorFlow's threads within an operation; 0 takes one a core. A request has small operations:
        more threads cost more than they save, and requests answered at once take the cores anyway.
      inter_op_threads: TensorFlow's threads across operations; 0 takes one a core.
      grace_seconds: how long a stop waits for requests under way.
      completing: completes requests of ids; None takes full ones alone.
      degrade: whether requests of ids are answered without the store where that can't be read.
      request_log: where a share of the requests of ids is logged; closed with the server.
    """

    name: str = ""
    host: str = "127.0.0.1"
    grpc_port: int = 8500
    rest_port: int = 8501
    policy: VersionPolicy = field(default_factory=VersionPolicy)
    labels: Mapping[str, int] = field(default_factory=dict)
    keep_contract: bool = True
    limits: Limits = field(default_factory=Limits)
    poll_seconds: float = 1.0
    threads: int = 8
    intra_op_threads: int = 1
    inter_op_threads: int = 0
    grace_seconds: float = 10.0
    completing: Completing | None = None
    degrade: bool = False
    request_log: RequestLog | None = None

    def listen(self, handler: RequestHandler) -> Listener:
        """Returns what listens for a handler.

        Raises:
          OSError: an address is taken.
        """
        ports, most = (self.grpc_port, self.rest_port), self.limits.request_bytes
        return Listener(handler, self.host, ports, most, self.threads, self.grace_seconds)


class ModelServer:
    """A running server of one model's directory, in threads of this process; a context manager that stops it.

    Attributes:
      grpc_port: where gRPC listens.
      rest_port: where REST listens.
      versions: the model's versions and their states.
    """

    def __init__(self, model_dir: str | Path, options: ServerOptions = ServerOptions()):
        """Loads what is in `model_dir`, one folder a version, then listens.

        A directory without a version that can be served is no error: one may still come.

        Raises:
          FileNotFoundError: there is no such directory.
          OSError: an address is taken.
        """
        base_path = Path(model_dir).resolve()
        if not base_path.is_dir():
            raise FileNotFoundError(f"{model_dir}: expected a model's directory, with one folder a version in it")
        if (base_path / "saved_model.pb").exists() and not versions_in(base_path):
            raise FileNotFoundError(f"{model_dir}: is a version itself; expected the directory around it")
        self.options = options
        self._metrics = Metrics(options.name or base_path.name)
        self.versions = Versions(
            name=options.name or base_path.name,
            base_path=base_path,
            load=self._load,
            policy=options.policy,
            labels=options.labels,
            keep_contract=options.keep_contract,
        )
        self.versions.poll(settled=True)
        # A full collection looks at all that TensorFlow's import has made, a stop of 0.2 s; these objects stay anyway.
        gc.collect()
        gc.freeze()
        try:
            self._listener = options.listen(self._handler())
        except OSError:
            self.versions.stop(0)
            raise
        self.grpc_port, self.rest_port = self._listener.grpc_port, self._listener.rest_port
        self._stopping = threading.Event()
        self._poller = threading.Thread(target=self._watch, name="versions", daemon=True)
        self._poller.start()
        log("serving", model=self.versions.name, host=options.host, grpc=self.grpc_port, rest=self.rest_port)

    def _handler(self) -> Handler:
        options = self.options
        if options.completing is None:
            return Handler(self.versions, options.limits, self._metrics)
        return GatewayHandler(
            self.versions, options.limits, self._metrics, options.completing, options.degrade, options.request_log
        )

    def _load(self, path: Path) -> SavedModel:
        completing = self.options.completing
        with self._metrics.load(str(path)):
            refusal = None if completing is None else completing.refusal(path)
            if refusal is not None:
                raise ServingError(Code.FAILED_PRECONDITION, refusal)
            model = SavedModel(path, self.options.intra_op_threads, self.options.inter_op_threads)
            try:
                count = warm_up(model, self.options.limits, gently=self.versions.serving())
            except BaseException:
                model.close()
                raise
        if count:
            log("warmed up", model=self.versions.name, version=int(path.name), requests=count)
        return model

    def _watch(self) -> None:
        while not self._stopping.wait(self.options.poll_seconds):
            try:
                self.versions.poll()
            except Exception as error:  # whatever it was, the versions that serve go on serving
                log("directory can't be read", logging.ERROR, model=self.versions.name, reason=repr(error))

    def stop(self) -> None:
        """Takes no more requests, answers those under way, and unloads the versions."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        grace = self.options.grace_seconds
        log("stopping", model=self.versions.name, grace_seconds=grace)
        self._listener.stop()
        self._poller.join()
        self.versions.stop(grace)
        if self.options.request_log is not None:
            self.options.request_log.close()
        log("stopped", model=self.versions.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def serve(model_dir: str | Path, options: ServerOptions = ServerOptions()) -> None:
    """Serves the versions in `model_dir` until SIGTERM or SIGINT. To be called in the main thread.

    Raises:
      FileNotFoundError: there is no such directory.
      OSError: an address is taken.
    """
    until_stopped(lambda: ModelServer(model_dir, options))


def until_stopped(start: Callable[[], AbstractContextManager]) -> None:
    """Starts a server and stops it at SIGTERM or SIGINT. To be called in the main thread."""
    stop, numbers = threading.Event(), (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        signal.signal(number, lambda *_: stop.set())
    # Whoever started this process may have blocked them.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    with start():
        # In turns: a signal that another thread takes doesn't wake this one.
        while not stop.wait(1.0):
            pass
