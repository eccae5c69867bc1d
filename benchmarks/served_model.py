"""A small real ranker behind `fulcrum serve`, in a process of its own, and what to ask of it."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import yaml
from tensorflow_serving.apis import prediction_log_pb2

import schema
from benchmarks.command import FULCRUM, fulcrum
from report.summary import load_summary
from schema.columns import input_columns
from schema.modelling import SHARED_ROUTING
from schema.spec import RankingSpec
from serving.client import Client, Target, connect
from serving.local_server.warmup import WARMUP_FILE

NAME = "ranker"
SPEC = Path(schema.__file__).parent / "specs" / "shortvideo.yaml"
# A client that only prepares requests; nothing is sent there.
_NOWHERE = "grpc://127.0.0.1:1"


def train(folder: Path) -> tuple[Path, str]:
    """Trains a ranker of the short-video spec by the pipeline, an epoch on 12,000 impressions; returns it and logs."""
    declared = yaml.safe_load(SPEC.read_text())
    # Speed is measured here: how well so small a model does is no matter.
    spec = folder / "spec.yaml"
    spec.write_text(yaml.safe_dump({**declared, "gates": {}, "model": {"routing": SHARED_ROUTING}}))
    logs, output = folder / "logs", folder / "run"
    simulated = ("--out", logs, "--users", "300", "--impressions", "12000", "--seed", "7")
    fulcrum("simulate", *simulated)
    fulcrum("run", spec, "--logs", logs, "--output", output, "--epochs", "1")
    return Path(load_summary(output).places["model"]) / "Format-Serving", str(logs)


def stage(spec: RankingSpec, saved: Path, folder: Path, requests: Sequence[dict[str, np.ndarray]]) -> Path:
    """Copies a model to `folder` with `requests` as its warm-up, ready to be renamed to a version's folder."""
    shutil.copytree(saved, folder)
    path = folder / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with connect(_NOWHERE, Target(NAME)) as client, tf.io.TFRecordWriter(str(path)) as writer:
        warm_up = [client.prepare("rank", columns) for columns in requests]
        warm_up.append(client.prepare("serving_default", {"examples": full_examples(spec, requests[0])}))
        for request in warm_up:
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
    return folder


def full_examples(spec: RankingSpec, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Returns a rank request as serialised tf.Examples, one a candidate, each with the user's side: object `[N]`."""
    sides = {column.name: column.side for column in input_columns(spec)}
    user = tf.train.Example()
    items = [name for name in columns if sides[name] == "item"]
    for name in columns.keys() - set(items):
        _fill(user.features.feature[name], columns[name])
    result = np.empty(len(columns[items[0]]), object)
    for i in range(len(result)):
        example = tf.train.Example()
        example.CopyFrom(user)
        for name in items:
            _fill(example.features.feature[name], columns[name][i])
        result[i] = example.SerializeToString()
    return result


def _fill(feature: tf.train.Feature, values: Any) -> None:
    listed = np.atleast_1d(values).tolist()
    if np.asarray(values).dtype == np.float32:
        feature.float_list.value.extend(listed)
    else:
        # What is padded with empty texts is a list of the others.
        feature.bytes_list.value.extend(text for text in listed if text)


@dataclass
class Server:
    """A server's process, how to connect to it by protocol, and its log's events as they come."""

    process: subprocess.Popen
    connects: dict[str, Callable[[], Client]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    def wait(self, event: str, version: int | None = None, seconds: float = 120) -> dict[str, Any]:
        """Returns the event, once it is logged."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            for logged in list(self.events):
                if logged["event"] == event and version in (None, logged.get("version")):
                    return logged
            time.sleep(0.02)
        raise RuntimeError(f"the server did not log {event!r} of version {version}: {self.events[-5:]}")

    def follow(self) -> None:
        for line in self.process.stderr or ():
            try:
                self.events.append(json.loads(line))
            except ValueError:
                print(line, end="", file=sys.stderr)


@contextmanager
def serve(folder: Path, *options: str) -> Iterator[Server]:
    """Runs `fulcrum serve` of the versions in `folder` with further options, until the block ends."""
    ports_and_pace = ("--grpc-port", "0", "--rest-port", "0", "--poll-seconds", "0.25")
    command = [*FULCRUM, "serve", str(folder), "--name", NAME, *ports_and_pace, *options]
    server = Server(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    follower = threading.Thread(target=server.follow)
    follower.start()
    try:
        ports = server.wait("serving", seconds=300)
        for protocol, scheme in (("gRPC", "grpc"), ("REST", "http")):
            address = f"{scheme}://127.0.0.1:{ports[protocol.lower()]}"
            server.connects[protocol] = partial(connect, address, Target(NAME), 60.0)
        yield server
    finally:
        server.process.terminate()
        server.process.wait()
        follower.join()
