"""A run parameter is declared once: of one more in the tuple, commands, Kubeflow, Preflight, Trainer and docs know."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from components.run_parameters import compiled_parameters, markdown_table
from schema.loading import load_spec

PROJECT = Path(__file__).parents[2]
SPEC = PROJECT / "schema" / "specs" / "shortvideo.yaml"


@contextmanager
def imported_anew(*packages: str) -> Iterator[None]:
    """Modules of these packages that are imported here are forgotten afterwards, and those from before are back."""

    def forget() -> dict[str, Any]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in packages}

    before = forget()
    try:
        yield
    finally:
        forget()
        sys.modules.update(before)


@pytest.fixture(scope="module")
def with_one_more(tmp_path_factory) -> dict[str, Any]:
    """What commands, components and docs make of the parameters and `learning_rate`."""
    out = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    target = ["--image", "fulcrum:1", "--root", "gs://bucket/runs", "--out", str(out)]
    # Modules take the declarations as they are imported.
    with imported_anew("components", "pipeline"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "150")
        from components import run_parameters

        added = run_parameters.Parameter(
            "learning_rate", float, "The step of training.", section="training", minimum=0.001
        )
        run_parameters.PARAMETERS += (added,)

        from components.preflight.component import PreflightSpec
        from components.trainer import TrainerSpec, with_run_settings
        from pipeline.cli.main import app
        from pipeline.cli.run_arguments import UsageError, prepare

        with pytest.raises(UsageError) as refusal:
            prepare(SPEC, "logs", out.parent, learning_rate=0.0)
        done = CliRunner().invoke(app, ["compile", str(SPEC), *target, "--learning-rate", "0.5"])
        assert done.exit_code == 0, done.output
        return {
            "run": CliRunner().invoke(app, ["run", "--help"]).stdout,
            "compile": CliRunner().invoke(app, ["compile", "--help"]).stdout,
            "refusal": str(refusal.value),
            "compiled": yaml.safe_load(out.read_text()),
            "preflight": PreflightSpec.PARAMETERS,
            "trainer": TrainerSpec.PARAMETERS,
            "trained": with_run_settings(load_spec(SPEC), {"learning_rate": 0.25}),
            "table": run_parameters.markdown_table(run_parameters.compiled_parameters()),
        }


def line_of(text: str, option: str) -> str:
    (line,) = [line for line in text.splitlines() if f"{option} " in line]
    return line


def test_both_commands_have_the_option(with_one_more):
    assert "The step of training." in line_of(with_one_more["run"], "--learning-rate")
    assert "The default of `learning_rate`; else the spec's." in line_of(with_one_more["compile"], "--learning-rate")
    assert with_one_more["refusal"] == "--learning-rate: expected at least 0.001, got 0"


def test_a_run_on_kubeflow_is_started_with_it(with_one_more):
    root = with_one_more["compiled"]["root"]
    assert root["inputDefinitions"]["parameters"]["learning_rate"] == {
        "defaultValue": 0.5,
        "description": "The step of training.",
        "isOptional": True,
        "parameterType": "NUMBER_DOUBLE",
    }
    tasks = root["dag"]["tasks"]
    takes = {name for name, task in tasks.items() if "learning_rate" in task["inputs"].get("parameters", {})}
    assert takes == {"Preflight", "Trainer"}


def test_preflight_checks_it_and_the_trainer_trains_by_it(with_one_more):
    assert "learning_rate" in with_one_more["preflight"]
    assert "learning_rate" in with_one_more["trainer"]
    assert with_one_more["trained"].training.learning_rate == 0.25


def test_the_docs_say_it(with_one_more):
    row = "| `learning_rate` | The step of training. | `--learning-rate`; else the spec's |"
    assert with_one_more["table"].splitlines()[-1] == row


def test_the_table_in_the_docs_is_the_one_that_follows_from_the_declarations():
    table = markdown_table(compiled_parameters())
    assert table in (PROJECT / "docs" / "kubeflow.md").read_text(), (
        "docs/kubeflow.md has another table: put in what `python -m components.run_parameters` prints"
    )
