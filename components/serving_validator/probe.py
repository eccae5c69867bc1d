"""Tries a candidate model in a process of its own: `python -m components.serving_validator.probe FOLDER`.

Nothing but TensorFlow may register operations here, and whatever the model does to the process, the pipeline's goes on.
FOLDER holds `job.json` and `examples.tfrecord`; it gets `stage`, what is being done, and at the end `result.json` and,
of a model without findings, `warmup.tfrecord`.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Self

import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from components.serving_validator import checks, warmup_requests
from components.serving_validator.checks import Outputs
from components.serving_validator.latency import Latency, measure
from components.serving_validator.replay import replay
from components.serving_validator.sample_requests import SampleRequests
from components.serving_validator.stock_ops import foreign_ops, serving_graph
from schema.served import RANK, SERVING_DEFAULT
from schema.spec import RankingSpec
from serving.model.errors import ServingError
from serving.model.messages import fill_proto
from serving.model.predict import Limits, find_signature, predict
from serving.model.saved_model import SavedModel, tensorflow_reason
from serving.requests import Inputs

JOB, RECORDS, STAGE, RESULT, WARMUP = "job.json", "examples.tfrecord", "stage", "result.json", "warmup.tfrecord"
# More of them would say the same again.
_MAX_FINDINGS = 5
# Users whose requests are timed, and full examples of the same size to compare with.
_TIMED_USERS = 5
# As TensorFlow Serving, which has no opinion on NaN: a missing number is one.
_LIMITS = Limits(request_bytes=1 << 30, finite=False)


@dataclass(frozen=True)
class Job:
    """What to try: a SavedModel's folder, and the p99 that `rank` with `candidates` candidates must keep.

    Of a model without `rank`, which reads nothing of the candidates, it is that of a batch of `candidates` examples.
    """

    model: str
    spec: str
    candidates: int
    max_latency_ms: float


@dataclass
class ProbeResult:
    """What came of a job: a model without findings may be served. Latencies by signature, at the job's `candidates`."""

    findings: list[str] = field(default_factory=list)
    latency: dict[str, Latency] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        fields = json.loads(text)
        return cls(fields["findings"], {name: Latency(**latency) for name, latency in fields["latency"].items()})


class Probe:
    """Tries the job in `folder`, the cheapest checks first; the first that finds something is the last."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._job = Job(**json.loads((folder / JOB).read_text()))
        self._spec = RankingSpec.from_json(self._job.spec)
        self._records = list(tf.data.TFRecordDataset(str(folder / RECORDS)).as_numpy_iterator())
        self._result = ProbeResult()

    def run(self) -> ProbeResult:
        """Returns the findings and the latencies; an error of the model's is a finding."""
        try:
            self._result.findings = list(islice(self._findings(), _MAX_FINDINGS))
        except ServingError as error:
            self._result.findings = [f"{self._stage}: {tensorflow_reason(error)}"]
        return self._result

    def _findings(self) -> Iterator[str]:
        path = Path(self._job.model)
        self._enter("reading the graph")
        try:
            findings = foreign_ops(serving_graph(path))
        except ValueError as error:
            findings = [str(error)]
        if findings:
            yield from findings
            return
        self._enter("loading the model")
        model = SavedModel(path)
        findings = checks.signature_findings(self._spec, model.signatures)
        if findings:
            yield from findings
            return
        names = {name: list(signature.inputs) for name, signature in model.signatures.items()}
        requests = SampleRequests(self._spec, self._records, names)
        for step in (self._check_answers, self._check_loaders, self._check_latency):
            findings = list(step(model, requests))
            if findings:
                yield from findings
                return
        self._write_warmup(requests)
        model.close()

    def _check_answers(self, model: SavedModel, requests: SampleRequests) -> Iterator[str]:
        return replay(requests, partial(self._ask, model))

    def _check_loaders(self, model: SavedModel, requests: SampleRequests) -> list[str]:
        """Compares the model as C++ loads it, for clients, with what Python loads, which the Evaluator judges."""
        served = self._ask(model, SERVING_DEFAULT, requests.default(self._records))
        self._enter("loading the model in Python")
        evaluated = tf.saved_model.load(self._job.model).signatures[SERVING_DEFAULT]
        outputs: Outputs = {name: values.numpy() for name, values in evaluated(tf.constant(self._records)).items()}
        tasks = [task.name for task in self._spec.tasks]
        return checks.agreement_findings("'serving_default' served", tasks, served, outputs, "the model in Python")

    def _check_latency(self, model: SavedModel, requests: SampleRequests) -> list[str]:
        self._enter("measuring the latency")
        count = self._job.candidates
        timed: dict[str, list[Inputs]] = {RANK: [], SERVING_DEFAULT: []}
        for index, user in enumerate(requests.users(_TIMED_USERS)):
            candidates = requests.candidates(count, index * count)
            timed[SERVING_DEFAULT].append(requests.pairs(user, candidates))
            if RANK in model.signatures:
                timed[RANK].append(requests.rank(user, candidates))
        limited = RANK if timed[RANK] else SERVING_DEFAULT
        for name, signature_requests in timed.items():
            if signature_requests:
                signature = find_signature(model, name)
                calls = [
                    partial(predict, model, signature, _protos(inputs), (), _LIMITS) for inputs in signature_requests
                ]
                self._result.latency[name] = measure(calls, count=100 if name == limited else 20)
        return checks.latency_findings(limited, self._result.latency[limited].p99_ms, self._job.max_latency_ms, count)

    def _write_warmup(self, requests: SampleRequests) -> None:
        self._enter("writing warm-up requests")
        warm_up = warmup_requests.warmup_requests(requests, self._job.candidates)
        warmup_requests.write(str(self._folder / WARMUP), warmup_requests.prediction_logs(self._spec.name, warm_up))

    def _ask(self, model: SavedModel, name: str, inputs: Inputs) -> Outputs:
        self._enter(f"answering {name!r}")
        return predict(model, find_signature(model, name), _protos(inputs), (), _LIMITS)

    def _enter(self, stage: str) -> None:
        self._stage = stage
        (self._folder / STAGE).write_text(stage)


def _protos(inputs: Inputs) -> dict[str, tensor_pb2.TensorProto]:
    """Returns the inputs as gRPC brings them."""
    protos = {name: tensor_pb2.TensorProto() for name in inputs}
    for name, proto in protos.items():
        fill_proto(proto, inputs[name])
    return protos


if __name__ == "__main__":
    job_folder = Path(sys.argv[1])
    (job_folder / RESULT).write_text(Probe(job_folder).run().to_json())
