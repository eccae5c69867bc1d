"""A log of requests holds a share of the users, is bounded, and never stops or fails an answer."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from serving.gateway import request_log
from serving.gateway.completing import CompletedRequest, IdRequest
from serving.gateway.request_log import RequestLog

INPUTS = {
    "age": np.array([1.1, np.nan], np.float32),
    "tags": np.array([[b"a", "é".encode()], [b"", b""]], object),
    "hour": np.array(b"7", object),
    "none": np.zeros((0, 3), np.float32),
    "number": np.array(3, np.int64),
}


def add(log: RequestLog, user: str = "u1", degraded: str | None = None) -> list[str]:
    counted: list[str] = []
    request_features = {"tab": np.array(b"search", object), "long": np.zeros(9, np.float32)}
    completed = CompletedRequest(INPUTS, origin=lambda: {"moment": 5})
    log.add(IdRequest(user, ["v1", "v2"], None, request_features), completed, INPUTS, degraded, counted.append)
    return counted


def lines(path: Path) -> list[dict]:
    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def test_a_request_is_a_line_of_json_with_the_bits_of_its_numbers(tmp_path):
    log = RequestLog(tmp_path / "requests.jsonl", 1.0)
    counted = add(log, degraded="StoreUnavailableError")
    log.close()
    assert counted == ["written"]
    (record,) = lines(tmp_path / "requests.jsonl")
    assert record == {
        "user_id": "u1",
        "item_id": ["v1", "v2"],
        "given": {"tab": "search"},
        "degraded": "StoreUnavailableError",
        "origin": {"moment": 5},
        "inputs": {
            "age": [float(np.float32(1.1)), None],
            "tags": [["a", "é"], ["", ""]],
            "hour": "7",
            "none": [],
            "number": 3,
        },
    }


def test_a_share_is_one_of_users_each_of_whom_is_whole(tmp_path):
    log = RequestLog(tmp_path / "requests.jsonl", 0.25)
    users = [f"u{number}" for number in range(400)]
    taken = [user for user in users if log.takes(user)]
    assert 60 <= len(taken) <= 140
    for user in [*taken[:5], *taken[:5], *(user for user in users if user not in taken)]:
        add(log, user)
    log.close()
    assert [record["user_id"] for record in lines(tmp_path / "requests.jsonl")] == taken[:5] * 2
    everybody = RequestLog(tmp_path / "all.jsonl", 1.0)
    assert all(everybody.takes(user) for user in users)
    everybody.close()


def test_what_is_there_is_added_to_and_a_full_file_makes_way(tmp_path):
    path = tmp_path / "requests.jsonl"
    log = RequestLog(path, 1.0)
    add(log)
    log.close()
    size = path.stat().st_size
    for user in ("u2", "u3", "u4"):
        log = RequestLog(path, 1.0, most_bytes=2 * size)
        add(log, user)
        log.close()
        assert path.stat().st_size <= 2 * size
    assert [record["user_id"] for record in lines(path)] == ["u3", "u4"]
    older = tmp_path / "requests.jsonl.1"
    assert [record["user_id"] for record in lines(older)] == ["u1", "u2"]
    assert sorted(tmp_path.iterdir()) == [path, older]


def test_a_disk_that_is_stuck_or_full_costs_requests_of_the_log_and_no_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(request_log, "_MOST_WAITING", 3)
    log, go_on = RequestLog(tmp_path / "requests.jsonl", 1.0), threading.Event()
    write, counted = log._write, []

    def stuck(line: bytes) -> None:
        go_on.wait(20)
        if len(counted) % 2:
            raise OSError(28, "No space left on device")
        write(line)

    monkeypatch.setattr(log, "_write", stuck)
    for _ in range(10):
        log.add(IdRequest("u1", []), CompletedRequest({}), {}, None, counted.append)
    dropped = len(counted)
    assert counted == ["dropped"] * dropped
    assert 6 <= dropped <= 7
    go_on.set()
    log.close()
    assert counted.count("written") + counted.count("failed") == 10 - dropped
    assert counted.count("failed") >= 1
    assert len(lines(tmp_path / "requests.jsonl")) == counted.count("written")


def test_a_file_that_can_not_be_written_is_an_error_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        RequestLog(tmp_path / "absent" / "requests.jsonl", 1.0)


def test_a_request_of_what_json_lacks_is_not_the_end_of_the_log(tmp_path):
    log = RequestLog(tmp_path / "requests.jsonl", 1.0)
    counted: list[str] = []
    log.add(IdRequest("u1", [], given={"odd": np.array(1j)}), CompletedRequest({}), {}, None, counted.append)
    counted += add(log)
    log.close()
    assert counted[0] == "failed"
    assert [record["user_id"] for record in lines(tmp_path / "requests.jsonl")] == ["u1"]
