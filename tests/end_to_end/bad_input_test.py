"""What is wrong is said in words; exit code 2 where a command can't be carried out as given, 1 where a run fails."""

import gzip
import os
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli.main import app
from report.runs import rebuild

SPEC = {
    "name": "tiny",
    "log": {
        "layout": "events",
        "files": "log*.csv*",
        "user": "who",
        "item": "what",
        "timestamp": {"column": "at", "unit": "s"},
        "event": "did",
        "impression": "VIEW",
        "attribution_window": "1d",
    },
    "features": [{"name": "country", "source": "log", "kind": "categorical"}],
    "behaviours": [{"name": "viewed", "event": "VIEW", "max_length": 5}],
    "tasks": [{"name": "like", "event": "LIKE"}],
}
START = 1_500_000_000


def rows(likes: bool = True) -> list[str]:
    lines = ["who,what,at,did,country"]
    for i in range(200):
        lines.append(f"u{i % 9},i{i % 7},{START + 100 * i},VIEW,BR")
        if likes and i % 3 == 0:
            lines.append(f"u{i % 9},i{i % 7},{START + 100 * i + 1},LIKE,BR")
    return lines


@pytest.fixture
def command(tmp_path):
    """Runs `fulcrum run` on a spec and a log; returns the exit code and all that was printed."""
    logs = tmp_path / "logs"
    logs.mkdir()

    def call(spec=SPEC, log=None, name="log.csv", output=tmp_path / "out", options=()):
        if log is not None:
            content = log if isinstance(log, bytes) else "\n".join(log).encode() + b"\n"
            (logs / name).write_bytes(content)
        path = tmp_path / "spec.yaml"
        path.write_text(yaml.safe_dump(spec) if isinstance(spec, dict) else spec)
        arguments = ["run", str(path), "--logs", str(logs), "--output", str(output), *options]
        result = CliRunner().invoke(app, arguments)
        printed = " ".join(result.output.split())
        assert "Traceback" not in printed
        return result.exit_code, printed

    return call


def changed(**sections) -> dict:
    return {**SPEC, **sections}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (changed(taks=[]), "taks: unknown key"),
        (changed(split={"by": "time", "eval": "0.1"}), "split.eval"),
        (changed(tasks=[{"name": "like", "column": "liked"}]), "tasks[0]"),
        (changed(model={"routing": "pleee"}), "'pleee'"),
        ("name: [unclosed", "YAML"),
    ],
)
def test_a_wrong_spec_is_refused_with_its_path(command, spec, said):
    code, printed = command(spec, rows())
    assert code == 2
    assert said in printed


@pytest.mark.parametrize(
    ("spec", "bottom", "said"),
    [
        (SPEC, "nonsense", "model.bottom: unknown bottom 'nonsense', expected one of plain, dtrn, din"),
        (changed(behaviours=[]), "dtrn", "model.bottom: got 'dtrn', which reads behaviour sequences"),
    ],
)
def test_a_bottom_that_there_is_not_or_that_does_not_go_with_the_spec_is_refused(command, spec, bottom, said):
    code, printed = command(spec, rows(), options=["--bottom", bottom])
    assert code == 2
    assert said in printed


def test_an_empty_log_directory_is_named(command):
    code, printed = command()
    assert code == 2
    assert "log*.csv*" in printed


def test_an_unwritable_output_is_named(command, tmp_path):
    (tmp_path / "file").write_text("")
    code, printed = command(log=rows(), output=tmp_path / "file" / "out")
    assert code == 2
    assert "--output" in printed


def test_a_task_that_names_a_missing_column_is_named(command):
    log = [line.replace("did", "action") if i == 0 else line for i, line in enumerate(rows())]
    code, printed = command(log=log)
    assert code == 1
    assert "'did'" in printed
    assert "action" in printed


def test_a_truncated_gzip_is_named(command):
    compressed = gzip.compress(os.urandom(64) + "\n".join(rows() * 50).encode())
    code, printed = command(log=compressed[: len(compressed) // 2], name="log.csv.gz")
    assert code == 1
    assert "log.csv.gz" in printed


def test_too_many_broken_rows_stop_the_run_with_counts(command):
    log = [line if i % 5 < 2 else "broken" for i, line in enumerate(rows())]
    code, printed = command(log=log)
    assert code == 1
    assert "max_bad_rows" in printed
    assert "59.9%" in printed or "60.0%" in printed or "60.1%" in printed


def test_a_task_without_positives_in_train_is_named_and_so_is_the_stage_in_a_report(command, tmp_path):
    code, printed = command(log=rows(likes=False))
    assert code == 1
    assert "like" in printed
    assert "negative" in printed
    report = rebuild(tmp_path / "out").read_text()
    assert "No verdict" in report
    assert "InteractionExampleGen: failed" in report


def test_a_time_split_that_leaves_a_split_empty_says_so(command):
    log = ["who,what,at,did,country", *(f"u{i},i{i % 3},{START},VIEW,BR" for i in range(50))]
    code, printed = command(log=log)
    assert code == 1
    assert "split" in printed
    assert "empty" in printed


@pytest.mark.skipif(
    not Path("/dev/full").exists() or os.geteuid() != 0,
    reason="a full disk: only root can mount a small one; run `make test` as root",
)
@pytest.mark.parametrize("size", ["192k", "900k"])
def test_a_full_disk_is_named(command, tmp_path, size):
    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size={size} tmpfs {small} 2>/dev/null") != 0:
        pytest.skip("a full disk: this machine allows no mount; run `make test` where root may mount tmpfs")
    try:
        log = rows() + [f"x{i},y{i},{START + i},VIEW,BR" for i in range(100_000)]
        code, printed = command(log=log, output=small)
        assert code in (1, 2)
        assert "space" in printed.lower()
    finally:
        shutil.rmtree(small, ignore_errors=True)
        os.system(f"umount -l {small}")
