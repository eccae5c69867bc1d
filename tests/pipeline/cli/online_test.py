"""`fulcrum update` and `fulcrum show`, in processes as people run them."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_logs import START
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.online.materialize import materialize
from schema.loading import load_spec
from serving.store.opening import open_store

UPDATE = [sys.executable, "-m", "pipeline.cli", "update"]
PROJECT = Path(__file__).parents[3]
# A day that the store doesn't hold.
AT = START + 86_400


@pytest.fixture
def url(tiny, tmp_path) -> str:
    """A store that holds the day of the tiny logs."""
    url = f"sqlite://{tmp_path}/store.db"
    store = open_store(url, create=True)
    materialize(load_spec(tiny[0]), str(tiny[1]), str(tmp_path), store)
    store.close()
    return url


def event(number: int, who: str = "ann") -> str:
    row = {"who": who, "what": "a1", "at": AT + number, "did": "VIEW", "country": "BR", "battery": "0.5"}
    return json.dumps(row) + "\n"


def lags() -> set[str]:
    """Returns how long ago the event 0 may have been told to be, just now or before the last tenth of a day began."""
    days = (time.time() - AT) / 86_400
    return {f"{days:.1f} d", f"{days - 0.1:.1f} d"}


def test_what_is_counted_and_how_far_behind_is_told_before_the_stream_ends(tiny, url):
    options = ["--store", url, "--progress-seconds", "0.01"]
    with subprocess.Popen(
        [*UPDATE, str(tiny[0]), *options], cwd=PROJECT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdin.write(event(0) + "no event\n")
        process.stdin.flush()
        line = next(line for line in process.stderr if "counted" in line)
        process.stdin.close()
    assert process.returncode == 0
    assert line.startswith("1 events counted")
    assert any(f"the latest of {lag} ago" in line for lag in lags())
    assert "1 left out" in line


def test_a_stores_lag_is_that_of_its_latest_event(tiny, url):
    assert "no events" in CliRunner().invoke(app, ["show", url]).output
    subprocess.run([*UPDATE, str(tiny[0]), "--store", url], cwd=PROJECT, input=event(0), text=True, check=True)
    shown = CliRunner().invoke(app, ["show", url]).output
    assert any(lag in shown for lag in lags())


def test_a_streams_next_input_has_to_say_where_it_begins(tiny, url, tmp_path):
    quarantine = tmp_path / "quarantine.jsonl"
    arguments = [*UPDATE, str(tiny[0]), "--store", url, "--stream", "views", "--quarantine", str(quarantine)]

    def update(lines: str, *options: str) -> tuple[int, str]:
        done = subprocess.run([*arguments, *options], cwd=PROJECT, input=lines, text=True, capture_output=True)
        return done.returncode, done.stdout + done.stderr

    assert "2 events counted" in update(event(0) + event(1) + "no event\n")[1]
    code, printed = update(event(2))
    assert (code, "3 events of it have been counted, expected --first" in printed) == (2, True), printed
    assert "1 events counted" in update(event(2), "--first", "3")[1]
    code, printed = update(event(0) + event(1) + "no event\n" + event(2) + event(3), "--first", "0")
    assert (code, "1 events counted" in printed, "4 counted before" in printed) == (0, True, True), printed
    assert [json.loads(line)["row"] for line in quarantine.read_text().splitlines()] == [2]
