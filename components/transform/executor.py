"""The executor of Transform: TFX's own, told which files are a day's, and where that day's analysis is kept."""

import hashlib
from collections.abc import Iterable
from typing import Any

import tensorflow as tf
from apache_beam import Create, Pipeline
from tensorflow_transform.beam.analyzer_cache import DatasetKey
from tfx import types
from tfx.components.transform import executor as transform
from tfx.components.transform import executor_utils, labels
from tfx.components.util import examples_utils, tfxio_utils
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils

# The name under which TFT lists what the analysis of a data set holds.
_MANIFEST = "MANIFEST"
_DAY = len("2026-11-25")
_BLOCK = 1 << 20
# What an analysis holds; those of another layout are of no use.
_LAYOUT = 2


class LostExamplesError(ValueError):
    """Beam's workers have read or written no example where there are some; the message says where."""


class Executor(transform.Executor):
    """Analyses day by day where the examples are those of a rolling window, and does as TFX does elsewhere."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs Transform; see TFX's executor for what it takes and gives.

        Raises:
          LostExamplesError: of a split that has examples, none came out.
        """
        examples = artifact_utils.get_single_instance(input_dict[standard_component_specs.EXAMPLES_KEY])
        self._transform(examples, input_dict, output_dict, exec_properties)
        for transformed in output_dict.get(standard_component_specs.TRANSFORMED_EXAMPLES_KEY, []):
            check_not_lost(examples, transformed)

    def _transform(
        self,
        examples: types.Artifact,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        self._log_startup(input_dict, output_dict, exec_properties)
        state = examples.get_string_custom_property("state")
        splits = executor_utils.ResolveSplitsConfig(
            exec_properties.get(standard_component_specs.SPLITS_CONFIG_KEY), [examples]
        )
        days = daily_datasets(examples, list(splits.analyze)) if state else {}
        transformed = output_dict[standard_component_specs.TRANSFORMED_EXAMPLES_KEY]
        executor_utils.SetSplitNames(splits.transform, transformed)
        graph = artifact_utils.get_single_uri(output_dict[standard_component_specs.TRANSFORM_GRAPH_KEY])
        functions = {
            labels.PREPROCESSING_FN: exec_properties[standard_component_specs.PREPROCESSING_FN_KEY],
            labels.CUSTOM_CONFIG: exec_properties.get(standard_component_specs.CUSTOM_CONFIG_KEY),
        }
        payload_format, data_view = tfxio_utils.resolve_payload_format_and_data_view_uri([examples])
        file_format = examples_utils.get_file_format(examples)
        analysed = list(days) or _patterns(examples, splits.analyze)
        patterns = _patterns(examples, splits.transform)
        inputs = {
            labels.DISABLE_STATISTICS_LABEL: True,
            labels.SCHEMA_PATH_LABEL: io_utils.get_only_uri_in_dir(
                artifact_utils.get_single_uri(input_dict[standard_component_specs.SCHEMA_KEY])
            ),
            labels.EXAMPLES_DATA_FORMAT_LABEL: payload_format,
            labels.DATA_VIEW_LABEL: data_view,
            labels.ANALYZE_DATA_PATHS_LABEL: analysed,
            labels.ANALYZE_PATHS_FILE_FORMATS_LABEL: [file_format] * len(analysed),
            labels.TRANSFORM_DATA_PATHS_LABEL: patterns,
            labels.TRANSFORM_PATHS_FILE_FORMATS_LABEL: [file_format] * len(patterns),
            labels.PREPROCESSING_FN: self._GetPreprocessingFn(functions, {}),
            labels.MAKE_BEAM_PIPELINE_FN: self._make_beam_pipeline,
            labels.FORCE_TF_COMPAT_V1_LABEL: False,
        }
        temporary = f"{graph}/.temp_path"
        outputs = {
            labels.TRANSFORM_METADATA_OUTPUT_PATH_LABEL: graph,
            labels.TRANSFORM_MATERIALIZE_OUTPUT_PATHS_LABEL: executor_utils.GetSplitPaths(transformed),
            labels.TEMP_OUTPUT_LABEL: temporary,
        }
        if not state:
            _Processor().Transform(inputs, outputs)
            io_utils.delete_dir(temporary)
            return
        cache = artifact_utils.get_single_uri(output_dict[standard_component_specs.UPDATED_ANALYZER_CACHE_KEY])
        analyses = f"{state.rstrip('/')}/analysis/{_digest(repr([_LAYOUT, *sorted(functions.items())]).encode())}"
        outputs[labels.CACHE_OUTPUT_PATH_LABEL] = cache
        if fileio.exists(analyses):
            inputs[labels.CACHE_INPUT_PATH_LABEL] = analyses
        _DailyProcessor(days).Transform(inputs, outputs)
        io_utils.delete_dir(temporary)
        for name in days.values():
            _keep(f"{cache}/{name}", f"{analyses}/{name}")


def _patterns(examples: types.Artifact, splits: Iterable[str]) -> list[str]:
    return [io_utils.all_files_pattern(artifact_utils.get_split_uri([examples], split)) for split in splits]


def check_not_lost(examples: types.Artifact, transformed: types.Artifact) -> None:
    """Raises LostExamplesError if a split of `transformed` is empty that has rows in `examples`.

    Beam takes a pattern that matches no file for no rows, so that workers which don't see this machine's files would
    end well, having done nothing.
    """
    for split in artifact_utils.decode_split_names(transformed.split_names):
        source, destination = (artifact_utils.get_split_uri([artifact], split) for artifact in (examples, transformed))
        if not _has_rows(destination) and _has_rows(source):
            raise LostExamplesError(
                f"{split}: expected its examples, which are in {source}, transformed in {destination}, got none there; "
                "do Beam's workers see the files of this machine at the same paths?"
            )


def _has_rows(folder: str) -> bool:
    files = sorted(fileio.glob(f"{folder}/*"))
    return bool(files) and any(True for _ in tf.data.TFRecordDataset(files, compression_type="GZIP").take(1))


def daily_datasets(examples: types.Artifact, splits: list[str]) -> dict[str, str]:
    """Returns the file pattern of each day's examples, and a name that says the day and what its files hold."""
    datasets = {}
    for split in splits:
        folder = artifact_utils.get_split_uri([examples], split)
        names = sorted(fileio.listdir(folder))
        for day in dict.fromkeys(name[:_DAY] for name in names):
            digest = hashlib.sha256()
            for name in names:
                if name.startswith(day):
                    digest.update(f"{split} {name}\n".encode())
                    with fileio.open(f"{folder}/{name}", "rb") as file:
                        while block := file.read(_BLOCK):
                            digest.update(block)
            datasets[f"{folder}/{day}-*"] = f"{day}-{digest.hexdigest()[:16]}"
    return datasets


class _WithoutCache(transform.TransformProcessor._OptimizeRun):
    """Says, where no analyses are kept, what TFX does then anyway, without tracing the graph for it."""

    def expand(self, pipeline: Pipeline) -> Any:
        # Beam takes a transform that applies none for a primitive one.
        pipeline | "NothingIsKept" >> Create([None])
        return {dataset.dataset_key: dataset for dataset in self._analyze_data_list}, None, 0


class _Processor(transform.TransformProcessor):
    """TFX's processor, that keeps no analyses."""

    _OptimizeRun = _WithoutCache


class _DailyProcessor(transform.TransformProcessor):
    """TFX's processor, in which a day's data set is known by what it holds and not by the artifact that it lies in."""

    def __init__(self, days: dict[str, str]):
        super().__init__()
        self._days = days

    def _MakeDatasetList(self, *arguments: Any, **named: Any) -> list[Any]:  # noqa: N802
        datasets = super()._MakeDatasetList(*arguments, **named)
        for dataset in datasets:
            if dataset.file_pattern in self._days:
                dataset.dataset_key = DatasetKey(self._days[dataset.file_pattern])
        return datasets

    def _JoinUncachedDatasets(self, *arguments: Any) -> tuple[list[Any], dict[Any, Any]]:  # noqa: N802
        # TFX reads and decodes the days whose analysis is known all the same, for nothing.
        datasets, to_analyse = super()._JoinUncachedDatasets(*arguments)
        return [dataset for dataset in datasets if to_analyse[dataset.dataset_key] is not None], to_analyse


def _keep(analysis: str, destination: str) -> None:
    """Copies a day's analysis to where the next run looks for it, unless it is there; what lists it goes last."""
    if fileio.exists(f"{destination}/{_MANIFEST}"):
        return
    fileio.makedirs(destination)
    for name in sorted(fileio.listdir(analysis), key=lambda name: (name == _MANIFEST, name)):
        fileio.copy(f"{analysis}/{name}", f"{destination}/{name}", overwrite=True)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:12]
