"""A small ranker, and what completes its requests."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from serving.gateway.completing import CompletedRequest, CountedEvents, IdRequest


class Ranker(tf.Module):
    """score = price + mood's length, of a user who costs `user_id`'s length."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([], tf.string, name="user_id"),
            tf.TensorSpec([None], tf.string, name="item_id"),
            tf.TensorSpec([None], tf.float32, name="price"),
            tf.TensorSpec([], tf.string, name="mood"),
        ]
    )
    def rank(self, user_id, item_id, price, mood):
        score = price + tf.cast(tf.strings.length(mood), tf.float32) + 0.0 * tf.cast(tf.size(item_id), tf.float32)
        return {"score": score, "user": tf.strings.length(user_id)}


class Shelf:
    """Completes by a price list; what is asked of it is kept."""

    def __init__(self) -> None:
        self.asked: list[IdRequest] = []
        self.error: Exception | None = None
        self.degraded_error: Exception | None = None
        self.events: list[bytes] = []
        self.done: CountedEvents | None = None
        # Events, and who asks for the age, wait before it.
        self.gate, self.waiting = threading.Event(), []
        self.gate.set()

    def _wait(self) -> None:
        self.waiting.append(threading.current_thread())
        self.gate.wait(20)

    def refusal(self, version: Path) -> str | None:
        return None

    def complete(self, request: IdRequest) -> CompletedRequest:
        self.asked.append(request)
        if self.error:
            raise self.error
        prices = np.array([float(len(item)) for item in request.items], np.float32)
        # As logs have them: `1.0` as `1`.
        ids = np.array([item.removesuffix(".0").encode() for item in request.items], object)
        user = np.array(request.user.removesuffix(".0").encode(), object)
        inputs = {"price": prices, "mood": np.array(b"good", object), "user_id": user, "item_id": ids}
        return CompletedRequest(inputs, request.user == "nobody", request.items.count("new"), 12.5, request.at == 7)

    def without_store(self, request: IdRequest) -> CompletedRequest:
        if self.degraded_error:
            raise self.degraded_error
        return CompletedRequest({"price": np.zeros(len(request.items), np.float32), "mood": np.array(b"", object)})

    def count(self, lines: Sequence[bytes]) -> CountedEvents:
        self._wait()
        if self.error:
            raise self.error
        self.events += lines
        return self.done or CountedEvents(len(lines) - 1, [(0, "no event")], settled=3, unused=4)

    def generation_age(self) -> float:
        self._wait()
        return 3.0


@pytest.fixture(scope="package")
def model_dir(tmp_path_factory):
    folder, ranker = tmp_path_factory.mktemp("models") / "ranker", Ranker()
    tf.saved_model.save(ranker, str(folder / "1"), signatures={"rank": ranker.rank})
    return folder


@pytest.fixture(scope="package")
def shelf() -> Shelf:
    return Shelf()
