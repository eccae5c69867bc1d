"""EvalConfigs name the metrics' classes: earlier ones by `models.metrics`, new ones by `evaluation.tfma`."""

import importlib

import pytest
from google.protobuf import text_format
from judged_rankers import SPEC
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.proto import config_pb2

from evaluation.eval_config import eval_config
from schema.columns import USER_ID

CLASSES = {
    "user_ranking": ("GroupedAUC", "UserNDCG", "UserMRR"),
    "calibration_error": ("ExpectedCalibrationError",),
}


def config_of(package: str) -> config_pb2.EvalConfig:
    """What a client may have in a file of their own."""
    metrics = "".join(
        f'metrics_specs {{ query_key: "{USER_ID}" metrics {{ class_name: "{name}" module: "{package}.{module}" }} }}\n'
        for module, names in CLASSES.items()
        for name in names
    )
    return text_format.Parse(f'model_specs {{ label_key: "label" }}\n{metrics}', config_pb2.EvalConfig())


@pytest.mark.parametrize("package", ["models.metrics", "evaluation.tfma"])
def test_tfma_loads_the_classes_that_an_eval_config_names(package):
    config = config_of(package)
    computations = metric_specs.to_computations(config.metrics_specs, eval_config=config)
    names = {key.name for computation in computations for key in computation.keys}
    assert names == {"grouped_auc", "ndcg", "mrr", "expected_calibration_error"}


@pytest.mark.parametrize("module", CLASSES)
def test_the_classes_of_earlier_names_are_the_same(module):
    earlier, today = (
        importlib.import_module(f"{package}.{module}") for package in ("models.metrics", "evaluation.tfma")
    )
    for name in CLASSES[module]:
        assert getattr(earlier, name) is getattr(today, name)


def test_new_eval_configs_name_the_package_of_today():
    specs = eval_config(SPEC, ["candidate", "baseline"]).metrics_specs
    modules = {metric.class_name: metric.module for spec in specs for metric in spec.metrics if metric.module}
    assert modules == {name: f"evaluation.tfma.{module}" for module, names in CLASSES.items() for name in names}
