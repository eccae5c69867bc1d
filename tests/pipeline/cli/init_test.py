"""`fulcrum init`: from logs to a spec that `fulcrum check` passes, and the commands to go on with."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app
from schema.loading import load_spec

ROWS = "user,item,ts,click\n" + "".join(
    f"u{n % 20},i{n % 17},{1_700_000_000 + 500 * n},{int(n % 3 == 0)}\n" for n in range(300)
)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "the logs"
    folder.mkdir()
    (folder / "log.csv").write_text(ROWS)
    return folder


def init(*arguments: object):
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


def test_it_writes_a_spec_and_tells_commands_that_work(logs, tmp_path):
    spec = tmp_path / "my.yaml"
    result = init("--logs", logs, "--output", spec)
    assert result.exit_code == 0, result.output
    assert load_spec(spec).name == "my"
    commands = re.findall(r"^  fulcrum (.*)$", result.output, re.MULTILINE)
    check, run = map(shlex.split, commands)
    assert run == ["run", str(spec), "--logs", str(logs), "--output", "runs/my"]
    assert CliRunner().invoke(app, check).exit_code == 0


def test_it_never_writes_over_a_file_unless_told(logs, tmp_path):
    spec = tmp_path / "my.yaml"
    spec.write_text("mine")
    result = init("--logs", logs, "--output", spec)
    assert (result.exit_code, spec.read_text()) == (2, "mine")
    assert "is there already; --force writes over it" in result.stderr
    assert init("--logs", logs, "--output", spec, "--force").exit_code == 0
    assert load_spec(spec).tasks


def test_it_refuses_logs_in_words_and_writes_nothing(logs, tmp_path):
    result = init("--logs", tmp_path / "nowhere", "--output", tmp_path / "my.yaml")
    assert (result.exit_code, "does not exist" in result.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["the logs"]


def test_daily_folders_are_run_over_a_window(tmp_path):
    for day, first in (("2023-11-14", 1_699_920_000), ("2023-11-15", 1_700_006_400)):
        folder = tmp_path / "logs" / day
        folder.mkdir(parents=True)
        rows = [f"u{n % 20},i{n % 17},{first + 200 * n},{int(n % 3 == 0)}" for n in range(400)]
        (folder / "log.csv").write_text("\n".join(["user,item,ts,click", *rows]) + "\n")
    result = init("--logs", tmp_path / "logs", "--output", tmp_path / "spec.yaml")
    assert result.exit_code == 0, result.output
    assert "--window 2d:2023-11-15 --output runs/logs" in result.output
    assert load_spec(tmp_path / "spec.yaml").log.files == ("log.csv",)


def test_a_draft_that_is_not_fit_ends_with_1(tmp_path):
    # All in one moment: a split by user, and yet sequences that need different times.
    (tmp_path / "log.csv").write_text(re.sub(r",17\d+,", ",1700000000,", ROWS))
    result = init("--logs", tmp_path, "--output", tmp_path / "my.yaml")
    assert result.exit_code == 1
    assert "Not fit to run yet" in result.output
