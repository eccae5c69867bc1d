"""gRPC's own health service, `grpc.health.v1.Health`: the server is healthy while a version of the model answers.

Its messages have one field of a number or a text, and are the wrappers' on the wire.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from serving.model.errors import Code, ServingError

SERVICE = "grpc.health.v1.Health"
_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = 1, 2, 3
# The server as a whole, and what clients may call it by.
_KNOWN = ("", "tensorflow.serving.PredictionService")


@dataclass(eq=False)
class _Watcher:
    """A stream: what sends to it (None ends it), whether its service is the server's, and what it was told last."""

    send: Callable[[Int32Value | None], None]
    is_known: bool
    told: int | None = None


class Health:
    """Answers how the server is, once or whenever it changes.

    However many watch, one thread looks and tells them: of gRPC's own threads none waits with a stream.
    """

    def __init__(self, is_serving: Callable[[], bool], look_seconds: float = 1.0):
        """Takes what says how the server is, and how often it is asked while anybody watches."""
        self._is_serving, self._look_seconds = is_serving, look_seconds
        self._lock, self._watchers = threading.Lock(), set[_Watcher]()
        self._changed, self._stopping = threading.Event(), False
        self._looker = threading.Thread(target=self._look, name="health", daemon=True)
        self._looker.start()

    def check(self, request: StringValue) -> Int32Value:
        """Answers `Check`.

        Raises:
          ServingError: NOT_FOUND for a service that isn't the server's.
        """
        if request.value not in _KNOWN:
            raise ServingError(Code.NOT_FOUND, f"service {request.value[:80]!r}: expected the server as a whole, ''")
        return Int32Value(value=self._status())

    def watch(self) -> grpc.RpcMethodHandler:
        """Returns the handler of `Watch`: a stream of the status now, and of each that it changes to."""

        def begin(body: bytes, context: grpc.ServicerContext, send: Callable[[Int32Value | None], None]) -> None:
            try:
                service = StringValue.FromString(body).value
            except DecodeError:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is no HealthCheckRequest")
            watcher = _Watcher(send, service in _KNOWN)
            with self._lock:
                self._watchers.add(watcher)
            if not context.add_callback(lambda: self._drop(watcher)):
                self._drop(watcher)
            self._changed.set()

        # So that gRPC calls it with what sends, and lets go of its thread.
        begin.experimental_non_blocking = True  # type: ignore[attr-defined]
        return grpc.unary_stream_rpc_method_handler(begin, response_serializer=Int32Value.SerializeToString)

    def stop(self) -> None:
        """Tells all who watch that nothing is served any more, and ends their streams."""
        self._stopping = True
        self._changed.set()
        self._looker.join()

    def _status(self) -> int:
        return _SERVING if self._is_serving() else _NOT_SERVING

    def _drop(self, watcher: _Watcher) -> None:
        with self._lock:
            self._watchers.discard(watcher)

    def _look(self) -> None:
        while not self._stopping:
            self._changed.wait(self._look_seconds if self._watchers else None)
            self._changed.clear()
            status = _NOT_SERVING if self._stopping else self._status()
            for watcher in self._all():
                # Another service may come yet, as the protocol has it: its stream stays open.
                told = status if watcher.is_known else _SERVICE_UNKNOWN
                if watcher.told != told:
                    watcher.told = told
                    watcher.send(Int32Value(value=told))
        for watcher in self._all():
            watcher.send(None)

    def _all(self) -> list[_Watcher]:
        with self._lock:
            return list(self._watchers)
