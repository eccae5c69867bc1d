"""The two protocols on their ports, in threads of this process."""

import time

from serving.local_server.grpc_service import start_grpc
from serving.local_server.handler import RequestHandler
from serving.local_server.health import Health
from serving.local_server.rest import RestServer

# How long a stop lets gRPC hand on what has arrived.
HAND_ON_SECONDS = 0.5


class Listener:
    """Listens for a handler.

    Attributes:
      grpc_port: where gRPC listens.
      rest_port: where REST listens.
    """

    def __init__(
        self,
        handler: RequestHandler,
        host: str,
        ports: tuple[int, int],
        max_request_bytes: int,
        threads: int,
        grace_seconds: float,
    ):
        """Listens from now on.

        Args:
          ports: gRPC's and REST's; 0 takes a free one.
          threads: requests answered at once, per protocol.
          grace_seconds: how long a stop waits for requests under way.

        Raises:
          OSError: an address is taken.
        """
        grpc_port, rest_port = ports
        self._grace = grace_seconds
        self._rest = RestServer(handler, host, rest_port, max_request_bytes, threads, grace_seconds)
        self.rest_port = self._rest.port
        try:
            address = f"[{host}]:{grpc_port}" if ":" in host else f"{host}:{grpc_port}"
            self._health = Health(handler.is_serving)
            self._grpc, self.grpc_port = start_grpc(handler, self._health, address, max_request_bytes, threads)
        except RuntimeError as error:
            self._health.stop()
            self._rest.stop()
            raise OSError(str(error)) from None

    def stop(self) -> None:
        """Takes no more requests, and answers those under way."""
        # gRPC cancels a call that has arrived and that it hasn't handed on yet.
        time.sleep(HAND_ON_SECONDS)
        # Before: streams have no end of their own that a stop could wait for.
        self._health.stop()
        stopped = self._grpc.stop(self._grace)
        self._rest.stop()
        stopped.wait()
