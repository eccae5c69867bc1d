"""Completes the gateway's requests from a store, by the spec of the model that is served."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ingest.kinds import reader_of
from ingest.rank_request import RequestError
from pipeline.online import generations
from pipeline.online.completion import Completed, Completer
from pipeline.online.generations import Generation
from pipeline.online.origin import Origin
from pipeline.online.updater import Updater
from schema.columns import MISSING
from schema.served import SPEC_FILE, rank_inputs
from schema.spec import RankingSpec
from schema.statistics import statistics_of
from serving.gateway.completing import CompletedRequest, CountedEvents, IdRequest, IdRequestError
from serving.requests import encode
from serving.store.memory import MemoryStore
from serving.store.protocol import OnlineStore
from serving.store.waiting import TimedStore

_ALWAYS = -(1 << 62)


class StoreCompleting:
    """See `serving.gateway.completing.Completing`."""

    def __init__(self, spec: RankingSpec, store: OnlineStore, seconds: float = float("inf")):
        """Takes the store, and how many seconds a request may ask it."""
        self._spec, self._timed = spec, TimedStore(store, seconds)
        self._completer, self._nothing = Completer(spec, self._timed), Completer(spec, _nothing(spec))
        self._tensors, self._digest = rank_inputs(spec), generations.digest_of(spec)
        delays = [
            *(statistic.delay for statistic in statistics_of(spec)),
            *(behaviour.delay for behaviour in spec.behaviours),
        ]
        # What counts the soonest is missed first; what counts at once would make each request late.
        self._delay = min(filter(None, delays), default=0)
        self._updating, self._updater = threading.Lock(), Updater(spec, store)

    def refusal(self, version: Path) -> str | None:
        try:
            digest = generations.digest_of(spec_of(version))
        except ValueError as error:
            return str(error)
        if digest == self._digest:
            return None
        # A delay or a half-life leaves no trace in the signatures: only the spec tells.
        return (
            f"version {version.name} is of another definition (digest {digest}) than that by which requests are "
            f"completed here ({self._digest}); a gateway that is started anew takes it"
        )

    def complete(self, request: IdRequest) -> CompletedRequest:
        with self._timed.request():
            return self._completed(self._completer, request)

    def without_store(self, request: IdRequest) -> CompletedRequest:
        completed = self._completed(self._nothing, request)
        return CompletedRequest(completed.inputs, origin=completed.origin)

    def count(self, lines: Sequence[bytes]) -> CountedEvents:
        with self._updating:
            done = self._updater.update(lines)
        rejected = [(bad.row, bad.reason) for bad in done.rejected]
        return CountedEvents(done.counted, rejected, done.settled, done.unused)

    def generation_age(self) -> float:
        return time.time() - self._completer.generation().made

    def _completed(self, completer: Completer, request: IdRequest) -> CompletedRequest:
        try:
            context = context_of(self._spec, request.given)
            done = completer.complete(request.user, request.items, request.at, context)
        except RequestError as error:
            raise IdRequestError(str(error)) from None
        late = done.lag_seconds > self._delay
        return CompletedRequest(
            encoded(self._tensors, done),
            done.unknown_user,
            done.unknown_items,
            done.lag_seconds,
            late,
            lambda: asdict(Origin.of(self._spec, done)),
        )


def spec_of(version: Path) -> RankingSpec:
    """Returns the spec that the model in a version's folder was trained by.

    Raises:
      ValueError: there is none, or it can't be read.
    """
    path = version / SPEC_FILE
    try:
        return RankingSpec.from_json(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: expected the spec that the model was trained by: {error}") from None


def context_of(spec: RankingSpec, inputs: Mapping[str, np.ndarray]) -> dict[str, object]:
    """Returns the typed values of features from the log that a request has itself: statistics may be by them.

    Raises:
      IdRequestError: a value isn't one of its feature.
    """
    context: dict[str, object] = {}
    for feature in spec.features_of("log"):
        name = feature.name
        if feature.is_text and not feature.derive and name in inputs and inputs[name].shape == ():
            try:
                text = inputs[name].item().decode()
                context[name] = reader_of(feature).parse_text(feature, None if text == MISSING else text)
            except (AttributeError, UnicodeDecodeError, ValueError) as error:
                raise IdRequestError(f"input {name!r}: {error}") from None
    return context


def encoded(tensors: Sequence[Any], done: Completed) -> dict[str, np.ndarray]:
    """Returns the served tensors of both sides of a request."""
    return {
        tensor.name: encode(tensor, (done.candidates if tensor.side == "item" else done.user)[tensor.name])
        for tensor in tensors
    }


def _nothing(spec: RankingSpec) -> OnlineStore:
    """Returns a store whose generation knows nobody."""
    store, digest = MemoryStore(), generations.digest_of(spec)
    generation = Generation(digest, "0" * 8, 0, _ALWAYS, False, spec.log.timestamp.precision, 0, 0.0)
    store.write([(generation.manifest, b"")], {generations.current_mark(digest): generation.to_json()})
    return store
