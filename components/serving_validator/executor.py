"""The executor of ServingValidator: examples in, the model tried in a process of its own, a blessing out."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.serving_validator.isolation import try_out
from components.serving_validator.probe import WARMUP, Job, ProbeResult
from schema.spec import RankingSpec
from serving.requests import read_rows

# As Pusher and InfraValidator know them.
_BLESSED, _HAS_MODEL = "blessed", "has_model"
_BLESSED_FILE, _NOT_BLESSED_FILE = "INFRA_BLESSED", "INFRA_NOT_BLESSED"
_REASON = "reason"


class Executor(base_executor.BaseExecutor):
    """Tries the model, and blesses it or says why not. A model that fails doesn't fail the run: nothing is pushed."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Validates.

        Raises:
          ValueError: there are no examples to make requests of, or not such as the spec says.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(input_dict["model"])
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        records = read_records(
            artifact_utils.get_single_instance(input_dict["examples"]),
            exec_properties["split"],
            exec_properties["num_examples"],
        )
        # A broken example is no fault of the model.
        read_rows(RankingSpec.from_json(exec_properties["spec"]), records)
        served = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
        with tempfile.TemporaryDirectory() as scratch, _local(served, Path(scratch)) as path:
            folder = Path(scratch, "probe")
            folder.mkdir()
            job = Job(
                str(path), exec_properties["spec"], exec_properties["candidates"], exec_properties["max_latency_ms"]
            )
            result = try_out(job, records, folder, exec_properties["timeout_s"])
            _record_latency(result, blessing)
            if result.findings:
                _refuse(blessing, "; ".join(result.findings))
            else:
                _bless(blessing, served, (folder / WARMUP).read_bytes())


def read_records(examples: types.Artifact, split: str, count: int) -> list[bytes]:
    """Reads the first serialised examples of a split, of all its files in turn, so that many users have some.

    Raises:
      ValueError: the split doesn't exist or is empty.
    """
    splits = artifact_utils.decode_split_names(examples.split_names)
    if split not in splits:
        raise ValueError(f"split: expected one of {', '.join(splits)}, got {split!r}")
    files = sorted(fileio.glob(f"{artifact_utils.get_split_uri([examples], split)}/*"))
    records: list[bytes] = []
    if files:
        dataset = tf.data.Dataset.from_tensor_slices(files).interleave(
            lambda file: tf.data.TFRecordDataset(file, compression_type="GZIP"), cycle_length=len(files)
        )
        records = list(dataset.take(count).as_numpy_iterator())
    if not records:
        raise ValueError(f"the split {split!r} in {examples.uri} has no examples to make requests of")
    return records


@contextmanager
def _local(path: str, scratch: Path) -> Iterator[Path]:
    """Yields the model's folder where a plain file system can reach it."""
    if "://" not in path:
        yield Path(path)
        return
    copy = scratch / "model"
    io_utils.copy_dir(path, str(copy))
    yield copy


def _record_latency(result: ProbeResult, blessing: types.Artifact) -> None:
    for name, latency in result.latency.items():
        logging.info("%s: p50 %.3g ms, p99 %.3g ms, %d requests", name, *vars(latency).values())
        blessing.set_float_custom_property(f"{name}_p50_ms", latency.p50_ms)
        blessing.set_float_custom_property(f"{name}_p99_ms", latency.p99_ms)


def _bless(blessing: types.Artifact, served: str, warmup: bytes) -> None:
    copy = path_utils.stamped_model_path(blessing.uri)
    # What an earlier attempt left half-copied is no part of the model.
    if fileio.exists(copy):
        fileio.rmtree(copy)
    io_utils.copy_dir(served, copy)
    path = path_utils.warmup_file_path(copy)
    fileio.makedirs(path.rsplit("/", 1)[0])
    with fileio.open(path, "wb") as file:
        file.write(warmup)
    io_utils.write_string_file(f"{blessing.uri}/{_BLESSED_FILE}", "")
    blessing.set_int_custom_property(_BLESSED, 1)
    blessing.set_int_custom_property(_HAS_MODEL, 1)
    logging.info("The model may be served; it is copied with its warm-up requests to %s", copy)


def _refuse(blessing: types.Artifact, reason: str) -> None:
    io_utils.write_string_file(f"{blessing.uri}/{_NOT_BLESSED_FILE}", reason)
    blessing.set_int_custom_property(_BLESSED, 0)
    blessing.set_int_custom_property(_HAS_MODEL, 0)
    blessing.set_string_custom_property(_REASON, reason)
    logging.error("The model may not be served: %s", reason)
