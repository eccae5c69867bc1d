"""What `fulcrum run` and `fulcrum worker` say of a training on several machines before anything runs."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.cli.run_arguments import UsageError, prepare

SPEC = Path(__file__).parents[2] / "schema" / "specs" / "shortvideo.yaml"
CLUSTER = {"worker": ["localhost:1", "localhost:2"]}


@pytest.fixture
def spec(tmp_path) -> Path:
    declared = yaml.safe_load(SPEC.read_text())
    declared.setdefault("training", {})["distribution"] = "multi_worker_mirrored"
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(declared))
    return path


def test_a_run_on_several_machines_without_tf_config_is_refused_before_the_logs_are_looked_at(
    spec, tmp_path, monkeypatch
):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UsageError, match=r"TF_CONFIG, which training.distribution: multi_worker_mirrored goes by"):
        prepare(spec, str(tmp_path / "no logs"), tmp_path / "output")
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": 1}}))
    with pytest.raises(UsageError, match="got the task worker 1, expected the chief"):
        prepare(spec, str(tmp_path / "no logs"), tmp_path / "output")


def test_the_first_worker_is_no_job_for_the_worker_command(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": 0}}))
    done = CliRunner().invoke(app, ["worker"])
    assert done.exit_code == 2
    assert "got the task worker 0, expected a worker that is not the chief" in done.stderr
