"""What the executor of Transform needs of TFX that TFX promises nobody: a release that changes it fails here."""

import inspect

import pytest
from tfx.components.transform import executor as transform

from components.transform.executor import Executor, _DailyProcessor, _Processor


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (
            transform.TransformProcessor._MakeDatasetList,
            [
                "self",
                "file_patterns",
                "file_formats",
                "data_format",
                "data_view_uri",
                "can_process_jointly",
                "stats_output_paths",
                "materialize_output_paths",
            ],
        ),
        (
            transform.TransformProcessor._JoinUncachedDatasets,
            ["self", "analyze_data_list", "optimized_analyze_data_dict", "input_schema", "analyze_input_columns"],
        ),
        (transform.TransformProcessor.Transform, ["self", "inputs", "outputs", "status_file"]),
        (transform.Executor._GetPreprocessingFn, ["self", "inputs", "unused_outputs"]),
        (transform.Executor._make_beam_pipeline, ["self"]),
    ],
)
def test_tfx_has_the_method_with_the_parameters_that_it_is_called_with(method, expected):
    assert parameters(method) == expected


def test_tfx_calls_the_methods_that_are_overridden():
    body = inspect.getsource(transform.TransformProcessor)
    for name in ("_MakeDatasetList", "_JoinUncachedDatasets"):
        assert f"self.{name}(" in body
        assert getattr(_DailyProcessor, name) is not getattr(transform.TransformProcessor, name)
    assert "self._OptimizeRun(" in body
    assert _Processor._OptimizeRun is not transform.TransformProcessor._OptimizeRun
    assert issubclass(Executor, transform.Executor)


def test_without_a_cache_tfx_analyses_every_data_set_as_the_processor_that_keeps_none_says():
    body = inspect.getsource(transform.TransformProcessor._OptimizeRun)
    assert "return ({d.dataset_key: d for d in self._analyze_data_list}, None," in body


def test_a_dataset_has_the_fields_that_a_day_is_known_by():
    assert {"file_pattern", "dataset_key"} <= set(dir(transform._Dataset))
