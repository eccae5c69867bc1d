"""The gateway alone, before another server that has the model."""

import gc
import threading
from types import TracebackType
from typing import Self

from serving.gateway.forwarding import ForwardingHandler
from serving.gateway.upstream import Upstream
from serving.local_server.logs import log
from serving.local_server.prometheus import Metrics
from serving.local_server.server import ServerOptions, until_stopped


class GatewayServer:
    """A running gateway, in threads of this process; a context manager that stops it.

    Attributes:
      grpc_port: where gRPC listens.
      rest_port: where REST listens.
    """

    def __init__(self, upstream: Upstream, options: ServerOptions):
        """Listens from now on; the upstream need not be there yet, and is closed with the gateway.

        Args:
          options: with `completing`, and the model's `name`.

        Raises:
          OSError: an address is taken.
        """
        assert options.completing is not None
        self._upstream, self._name, self._request_log = upstream, options.name, options.request_log
        metrics = Metrics(options.name)
        handler = ForwardingHandler(
            upstream,
            options.name,
            options.limits,
            metrics,
            options.completing,
            options.degrade,
            options.request_log,
        )
        # As `ModelServer` does.
        gc.collect()
        gc.freeze()
        try:
            self._listener = options.listen(handler)
        except OSError:
            upstream.close()
            raise
        self.grpc_port, self.rest_port = self._listener.grpc_port, self._listener.rest_port
        self._stopping = threading.Event()
        log(
            "serving",
            model=options.name,
            host=options.host,
            grpc=self.grpc_port,
            rest=self.rest_port,
            upstream=upstream.address,
        )

    def stop(self) -> None:
        """Takes no more requests, and answers those under way."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        log("stopping", model=self._name)
        self._listener.stop()
        self._upstream.close()
        if self._request_log is not None:
            self._request_log.close()
        log("stopped", model=self._name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def serve_before(upstream: Upstream, options: ServerOptions) -> None:
    """Serves before an upstream until SIGTERM or SIGINT. To be called in the main thread.

    Raises:
      OSError: an address is taken.
    """
    until_stopped(lambda: GatewayServer(upstream, options))
