"""What the server counts, under TensorFlow Serving's metric names, so that the same dashboards and alerts read both."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

from serving.model.errors import Code, ServingError

PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LATENCY_BUCKETS_US = (500, 1e3, 2e3, 3e3, 5e3, 7.5e3, 1e4, 1.5e4, 2e4, 3e4, 5e4, 1e5, 2e5, 5e5, 1e6)


class Metrics:
    """Counters of one server."""

    def __init__(self, model: str):
        self._model = model
        self.registry = CollectorRegistry()
        # prometheus_client would add `_total` to a Counter's name; TensorFlow Serving's counters have no such ending.
        self._requests = Gauge(
            ":tensorflow:serving:request_count", "Requests by status.", ["model_name", "status"], registry=self.registry
        )
        self._latency = Histogram(
            ":tensorflow:serving:request_latency",
            "Time from the request's bytes to the response's, in microseconds.",
            ["model_name", "API", "entrypoint"],
            buckets=_LATENCY_BUCKETS_US,
            registry=self.registry,
        )
        self._loads = Gauge(
            ":tensorflow:cc:saved_model:load_attempt_count",
            "Versions that were loaded or refused.",
            ["model_path", "status"],
            registry=self.registry,
        )

    @contextmanager
    def request(self, entrypoint: str) -> Iterator[None]:
        """Counts and times a prediction; `entrypoint` is GRPC or REST."""
        start = time.perf_counter()
        status = Code.INTERNAL
        try:
            yield
            status = Code.OK
        except ServingError as error:
            status = error.code
            raise
        finally:
            self._requests.labels(self._model, status.name).inc()
            elapsed = (time.perf_counter() - start) * 1e6
            self._latency.labels(self._model, "predict", entrypoint).observe(elapsed)

    @contextmanager
    def load(self, path: str) -> Iterator[None]:
        status = "fail"
        try:
            yield
            status = "success"
        finally:
            self._loads.labels(path, status).inc()

    def text(self) -> bytes:
        """Returns the metrics in Prometheus's text format."""
        return generate_latest(self.registry)
