"""The executor of InteractionExampleGen: matches the files, runs the Beam graph, and says what stopped it."""

from typing import Any

from apache_beam.io.filesystems import FileSystems
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from ingest.clock import with_precision
from ingest.errors import IngestError
from ingest.findings import SUMMARY, read_summary
from ingest.graph import SCRATCH, ingest
from ingest.sources import SourceFile, match_files, shard_count
from ingest.statistics.graph import state_buckets
from ingest.time_split import SPLITS
from ingest.windows.rolling import Rolling, plan
from ingest.windows.snapshots import publish, scratch_of
from ingest.windows.window import Window, log_files
from schema.spec import RankingSpec


class Executor(BaseBeamExecutor):
    """Turns the logs in the folder `logs` into examples as `spec` declares."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs ingest.

        Raises:
          IngestError: the logs can't be used or the output can't be written. TFX then removes the outputs; the
            rejected rows and the counts stay in the folder that the message names.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        spec = RankingSpec.from_json(exec_properties["spec"])
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        quarantine = artifact_utils.get_single_instance(output_dict["quarantine"])
        rolling: Rolling | None = None
        if exec_properties.get("window"):
            window = Window.parse(exec_properties["window"])
            spec = with_precision(spec, log_files(spec, exec_properties["logs"], window))
            rolling, files = plan(spec, exec_properties["logs"], exec_properties["state"], window)
        else:
            files = match_files(spec, exec_properties["logs"])
            spec = with_precision(spec, files)
        shards = exec_properties.get("shards") or _shards(files, rolling)
        try:
            for artifact in (examples, quarantine):
                _empty(artifact.uri)
            with self._make_beam_pipeline() as pipeline:
                ingest(pipeline, spec, files, examples.uri, quarantine.uri, shards, rolling)
        except OSError as error:
            raise IngestError(
                f"{error.filename or quarantine.uri}: can't be written: {error.strerror or error}"
            ) from None
        if not FileSystems.exists(FileSystems.join(quarantine.uri, SUMMARY)):
            raise IngestError(f"{quarantine.uri}/{SUMMARY}: can't be written; is the disk full?")
        counted = read_summary(quarantine.uri)
        if counted["problems"]:
            rescued = _kept_after_failure(quarantine.uri)
            where = f"\nthe rows left out and the counts are in {rescued}" if rescued else ""
            raise IngestError("\n".join(counted["problems"]) + where)
        for artifact in (examples, quarantine):
            _remove(FileSystems.join(artifact.uri, SCRATCH))
        if rolling:
            publish(rolling.snapshot, shards)
            _remove(scratch_of(rolling.snapshot.folder))
            for state, buckets in zip(rolling.statistics, state_buckets(spec, shards), strict=True):
                publish(state.snapshot, buckets)
                _remove(scratch_of(state.snapshot.folder))
            examples.set_string_custom_property("window", str(rolling.window))
            # Transform keeps its analyses of the days there too.
            examples.set_string_custom_property("state", exec_properties["state"])
            examples.set_string_custom_property("snapshot", rolling.earlier.folder if rolling.earlier else "")
        examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
        examples.span, examples.version = 0, 0
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)  # type: ignore[attr-defined]
        examples_utils.set_file_format(examples, "tfrecords_gzip")
        if exec_properties.get("fingerprint"):
            examples.set_string_custom_property("input_fingerprint", exec_properties["fingerprint"])
        quarantine.set_int_custom_property("rows_read", counted["sources"]["log"]["rows"])
        quarantine.set_int_custom_property("rows_quarantined", sum(counted["sources"]["log"]["quarantined"].values()))
        for split, counts in counted["splits"].items():
            quarantine.set_int_custom_property(f"{split}_examples", counts["examples"])


def _shards(files: tuple[SourceFile, ...], rolling: Rolling | None) -> int:
    if not rolling:
        return shard_count(files)
    # The same from day to day, although the days aren't of one size: a day's files then stay as they are.
    count = shard_count(tuple(file for file in files if rolling.has(file.day)))
    return 1 << (count - 1).bit_length()


def _empty(uri: str) -> None:
    """Makes an empty folder: what an earlier attempt left half-written is no part of this one."""
    _remove(uri)
    FileSystems.mkdirs(uri)


def _remove(uri: str) -> None:
    # Of TFX and not of Beam, for which a folder of an object store doesn't exist.
    if fileio.exists(uri):
        fileio.rmtree(uri)


def _kept_after_failure(uri: str) -> str | None:
    """Copies the quarantine to where TFX doesn't remove it: beside the outputs, under `rejected`."""
    parent, name = FileSystems.split(uri.rstrip("/"))
    rescued = FileSystems.join(FileSystems.split(parent)[0], "rejected", name)
    try:
        _empty(rescued)
        files = FileSystems.match([FileSystems.join(uri, "*")])[0].metadata_list
        sources = [file.path for file in files]
        FileSystems.copy(sources, [FileSystems.join(rescued, FileSystems.split(path)[1]) for path in sources])
    except OSError:
        return None
    return rescued
