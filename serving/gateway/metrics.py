"""What the gateway counts of its store, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)


class StoreMetrics:
    """Counters of one gateway."""

    def __init__(self, registry: CollectorRegistry):
        self.seconds = Histogram(
            "fulcrum_store_seconds", "Time to complete a request from the store.", buckets=_SECONDS, registry=registry
        )
        self.requests = Counter(
            "fulcrum_store_requests",
            "Requests of ids: completed, degraded (answered without the store), or failed.",
            ["outcome"],
            registry=registry,
        )
        self.late = Counter(
            "fulcrum_store_late_requests",
            "Requests for which events may have been missing: the latest is older than feedback takes to be known.",
            registry=registry,
        )
        self.unknown_users = Counter("fulcrum_store_unknown_users", "Requests of unknown users.", registry=registry)
        self.unknown_items = Counter("fulcrum_store_unknown_items", "Unknown candidates.", registry=registry)
        self.errors = Counter(
            "fulcrum_store_errors", "What a store couldn't do, by the error's name.", ["error"], registry=registry
        )
        self.logged = Counter(
            "fulcrum_logged_requests",
            "Requests that were to be logged: written, dropped (too many waited), or failed.",
            ["outcome"],
            registry=registry,
        )
        self.lag = Gauge(
            "fulcrum_store_lag_seconds",
            "How long before the last request the latest counted row was.",
            registry=registry,
        )
        self.age = Gauge(
            "fulcrum_store_generation_age_seconds", "How long ago the current generation was made.", registry=registry
        )
        self.events = Counter(
            "fulcrum_store_events",
            "Events sent: counted, settled (of days that the store holds), unused (not of the spec), or rejected.",
            ["outcome"],
            registry=registry,
        )
