"""The requests that a server replays before it serves a version, so that no client pays for a graph's first run."""

from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from components.serving_validator.sample_requests import SampleRequests
from schema.served import PREDICT, RANK, SERVING_DEFAULT
from serving.model.messages import fill_proto
from serving.requests import Inputs

# Of each kind and size: histories of several lengths, and a quick start. TensorFlow Serving takes 1,000 in all.
_REPEATS = 4


def warmup_requests(requests: SampleRequests, candidates: int) -> Iterator[tuple[str, Inputs]]:
    """Yields signature and inputs: batches of one and many examples, and `rank` from one to `candidates` candidates."""
    for size in (1, min(64, len(requests.rows))):
        for repeat in range(_REPEATS):
            start = repeat * len(requests.rows) // _REPEATS
            rows = requests.candidates(size, start)
            records = [requests.records[(start + i) % len(requests.records)] for i in range(size)]
            yield SERVING_DEFAULT, requests.default(records)
            yield PREDICT, requests.predict(rows)
    for count in sorted({1, 10, 100, candidates}):
        if count <= candidates and RANK in requests.inputs:
            for index, user in enumerate(requests.users(_REPEATS)):
                yield RANK, requests.rank(user, requests.candidates(count, index * count))


def prediction_logs(model: str, requests: Iterable[tuple[str, Inputs]]) -> list[bytes]:
    """Returns the requests as serialised PredictionLogs, the records of the warm-up file."""
    return [
        prediction_log_pb2.PredictionLog(
            predict_log=prediction_log_pb2.PredictLog(request=_predict_request(model, signature, inputs))
        ).SerializeToString()
        for signature, inputs in requests
    ]


def write(path: str, logs: Iterable[bytes]) -> None:
    tf.io.gfile.makedirs(path.rsplit("/", 1)[0])
    with tf.io.TFRecordWriter(path) as writer:
        for log in logs:
            writer.write(log)


def _predict_request(model: str, signature: str, inputs: Inputs) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, values in inputs.items():
        # A warm-up is about shapes; servers that refuse NaN must take it too.
        finite = np.nan_to_num(values) if values.dtype.kind == "f" else values
        fill_proto(request.inputs[name], np.asarray(finite, values.dtype))
    return request
