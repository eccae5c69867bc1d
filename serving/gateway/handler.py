"""Answers requests of ids: what they don't bring, a store does. Full requests pass through unchanged."""

import time
from collections.abc import Mapping, MutableMapping
from dataclasses import replace

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from schema.columns import ITEM_ID, TIMESTAMP, USER_ID
from schema.served import RANK
from serving.gateway.completing import CompletedRequest, Completing, IdRequest, IdRequestError
from serving.gateway.metrics import StoreMetrics
from serving.gateway.request_log import RequestLog
from serving.local_server.handler import Handler
from serving.local_server.prometheus import Metrics
from serving.local_server.versions import Versions
from serving.model.errors import Code, ServingError, invalid
from serving.model.predict import Limits, Value
from serving.model.saved_model import Signature, TensorSpec
from serving.store.protocol import KeySizeError, StoreError

# The header of an answer that was made without the store.
DEGRADED = "fulcrum-degraded"
# What a request of ids may have, and the model need not take.
_IDS = (
    TensorSpec(USER_ID, tf.string, ()),
    TensorSpec(ITEM_ID, tf.string, (None,)),
    TensorSpec(TIMESTAMP, tf.int64, ()),
)


class StoreRequests:
    """What a handler with a store does with requests of `rank`, and with events."""

    takes_events = True

    def __init__(
        self,
        limits: Limits,
        metrics: Metrics,
        completing: Completing,
        degrade: bool,
        request_log: RequestLog | None = None,
    ):
        """Takes what completes requests, whether they are answered where it can't, and where a share is logged."""
        self._limits, self._completing, self._degrade, self._request_log = limits, completing, degrade, request_log
        self._store = StoreMetrics(metrics.registry)
        self._store.age.set_function(self._age)

    def count_events(self, body: bytes) -> dict:
        """Adds the events of a body, a JSON object a line, to the store; returns what became of them.

        Where none can be used, the answer has an `error`, too.

        Raises:
          ServingError: UNAVAILABLE where the store can't take them; none was counted then.
        """
        lines = [line for line in body.splitlines() if line.strip()]
        try:
            done = self._completing.count(lines)
        except StoreError as error:
            self._store.errors.labels(type(error).__name__).inc()
            raise ServingError(Code.UNAVAILABLE, f"store: {error}") from None
        counts = {"counted": done.counted, "settled": done.settled, "unused": done.unused}
        for outcome, number in {**counts, "rejected": len(done.rejected)}.items():
            self._store.events.labels(outcome).inc(number)
        answer: dict[str, object] = {**counts, "rejected": [{"event": at, "reason": why} for at, why in done.rejected]}
        if done.rejected and not any(counts.values()):
            answer["error"] = f"none of the {len(lines):,} events can be used; the first: {done.rejected[0][1]}"
        return answer

    def _readable(self, signature: Signature) -> Signature:
        if signature.name != RANK:
            return signature
        return replace(signature, inputs={**{spec.name: spec for spec in _IDS}, **signature.inputs})

    def _inputs(
        self, signature: Signature, inputs: Mapping[str, Value], headers: MutableMapping[str, str]
    ) -> Mapping[str, Value]:
        missing = signature.inputs.keys() - signature.defaults.keys() - inputs.keys()
        if signature.name != RANK or not missing or USER_ID not in inputs or ITEM_ID not in inputs:
            return inputs
        request = self._request(inputs)
        completed = self._completed(request, headers)
        # The ids go to the model as they are read, as logs are: `1.0` as `1`.
        ids = {spec.name for spec in _IDS} & signature.inputs.keys() & completed.inputs.keys()
        extra = {spec.name for spec in _IDS} - signature.inputs.keys()
        sent_inputs = {name: value for name, value in inputs.items() if name not in extra | ids}
        brought = {name: completed.inputs[name] for name in (missing | ids) & completed.inputs.keys()}
        if self._request_log is not None:
            self._request_log.add(request, completed, brought, headers.get(DEGRADED), self._count_logged)
        return {**brought, **sent_inputs}

    def _request(self, inputs: Mapping[str, Value]) -> IdRequest:
        ids = {spec.name: _array(spec, inputs[spec.name], self._limits) for spec in _IDS if spec.name in inputs}
        context_inputs = {
            name: _array(None, value, self._limits)
            for name, value in inputs.items()
            if name not in ids and (isinstance(value, np.ndarray) or not value.tensor_shape.dim)
        }
        at = int(ids[TIMESTAMP]) if TIMESTAMP in ids else None
        try:
            return IdRequest(ids[USER_ID].item().decode(), [item.decode() for item in ids[ITEM_ID]], at, context_inputs)
        except UnicodeDecodeError:
            raise invalid(f"inputs {USER_ID!r}, {ITEM_ID!r}: expected UTF-8") from None

    def _completed(self, request: IdRequest, headers: MutableMapping[str, str]) -> CompletedRequest:
        start = time.perf_counter()
        try:
            try:
                completed = self._completing.complete(request)
                self._store.requests.labels("completed").inc()
            except KeySizeError:
                raise
            except StoreError as error:
                self._store.errors.labels(type(error).__name__).inc()
                if not self._degrade:
                    self._store.requests.labels("failed").inc()
                    raise ServingError(Code.UNAVAILABLE, f"store: {error}") from None
                completed = self._completing.without_store(request)
                headers[DEGRADED] = type(error).__name__
                self._store.requests.labels("degraded").inc()
        except (IdRequestError, KeySizeError) as error:
            raise invalid(str(error)) from None
        finally:
            self._store.seconds.observe(time.perf_counter() - start)
        self._store.unknown_users.inc(completed.unknown_user)
        self._store.unknown_items.inc(completed.unknown_items)
        self._store.late.inc(completed.is_late)
        if completed.lag_seconds is not None:
            self._store.lag.set(completed.lag_seconds)
        return completed

    def _count_logged(self, outcome: str) -> None:
        self._store.logged.labels(outcome).inc()

    def _age(self) -> float:
        try:
            return self._completing.generation_age()
        except StoreError:
            return float("nan")


class GatewayHandler(StoreRequests, Handler):
    """Completes requests of `rank` for a model that is loaded here."""

    def __init__(
        self,
        versions: Versions,
        limits: Limits,
        metrics: Metrics,
        completing: Completing,
        degrade: bool,
        request_log: RequestLog | None = None,
    ):
        """Takes what `Handler` does and what `StoreRequests` does."""
        Handler.__init__(self, versions, limits, metrics)
        StoreRequests.__init__(self, limits, metrics, completing, degrade, request_log)


def _array(spec: TensorSpec | None, value: Value, limits: Limits) -> np.ndarray:
    """Returns an input's values, checked against what it has to be."""
    if isinstance(value, tensor_pb2.TensorProto):
        sizes = [dim.size for dim in value.tensor_shape.dim]
        name = spec.name if spec else "input"
        if value.tensor_shape.unknown_rank or len(sizes) > 1 or any(not 0 <= size <= limits.batch for size in sizes):
            raise invalid(f"input {name!r}: expected at most {limits.batch:,} values in one dimension, got {sizes}")
        try:
            value = tf.make_ndarray(value)
        except (ValueError, TypeError, KeyError):
            raise invalid(f"input {name!r}: its values do not fill its shape") from None
    if spec is not None:
        if value.dtype != (object if spec.dtype == tf.string else spec.dtype.as_numpy_dtype) or not spec.fits(
            value.shape
        ):
            raise invalid(f"input {spec.name!r}: expected {spec}, got {value.dtype}{list(value.shape)}")
        if value.shape and value.shape[0] > limits.batch:
            raise invalid(f"input {spec.name!r}: {value.shape[0]:,} is above the limit of {limits.batch:,}")
    return value
