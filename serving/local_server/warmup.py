"""Warm-up: the requests that came with a version are replayed before it serves: no client pays for its first run."""

import time
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.model.errors import ServingError, invalid
from serving.model.predict import Limits, find_signature, predict
from serving.model.saved_model import SavedModel

# TensorFlow Serving's own name for the file, and its limit.
WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
MAX_RECORDS = 1_000


def warm_up(model: SavedModel, limits: Limits, gently: bool = False) -> int:
    """Replays the warm-up requests of `model`, if it has any, and returns how many there were.

    With `gently` it rests after each for as long as it took, and so leaves cores to the version that serves meanwhile.

    Raises:
      ServingError: one can't be read or answered: such a version would fail its clients too.
    """
    path = model.path / WARMUP_FILE
    if not path.is_file():
        return 0
    count = 0
    for request in _requests(path):
        count += 1
        if count > MAX_RECORDS:
            raise invalid(f"{WARMUP_FILE} has more than {MAX_RECORDS:,} requests")
        try:
            signature = find_signature(model, request.model_spec.signature_name)
            start = time.monotonic()
            predict(model, signature, request.inputs, request.output_filter, limits)
            if gently:
                time.sleep(time.monotonic() - start)
        except ServingError as error:
            raise ServingError(error.code, f"warm-up request {count}: {error.message}") from None
    return count


def _requests(path: Path) -> Iterator[predict_pb2.PredictRequest]:
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if log.WhichOneof("log_type") != "predict_log":
                raise invalid(f"{WARMUP_FILE}: expected predict_log records, got {log.WhichOneof('log_type')}")
            yield log.predict_log.request
    except (tf.errors.OpError, DecodeError) as error:
        reason = getattr(error, "message", str(error))
        raise invalid(f"{WARMUP_FILE} is not a TFRecord file of PredictionLog: {reason}") from None
