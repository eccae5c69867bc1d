"""`fulcrum serve`, `rank` and `load-test` on a hand-made model of the tiny spec, in processes as people run them."""

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from tensorflow_serving.apis import model_pb2
from typer.testing import CliRunner

from ingest.rank_request import RequestError
from pipeline.cli.candidates import read_candidates
from pipeline.cli.load_test import id_requests, is_loopback, recorded_requests
from pipeline.cli.main import app
from pipeline.online.gateway import StoreCompleting
from pipeline.online.generations import digest_of
from schema.loading import load_spec
from schema.served import SPEC_FILE
from schema.spec import RankingSpec
from serving.local_server.server import ModelServer, ServerOptions
from serving.local_server.versions import AVAILABLE
from serving.model.errors import Code
from serving.store.opening import open_store


@pytest.fixture(scope="module")
def server(model_dir):
    with ModelServer(model_dir, ServerOptions(grpc_port=0, rest_port=0)) as running:
        yield running


@pytest.fixture(params=["grpc", "http"])
def address(server, request) -> str:
    return f"{request.param}://127.0.0.1:{server.grpc_port if request.param == 'grpc' else server.rest_port}"


@pytest.fixture
def candidates(tmp_path) -> Path:
    path = tmp_path / "candidates.txt"
    path.write_text("a1\na4\n\nnew\na2\n")
    return path


@pytest.fixture
def command(tiny):
    """Runs a command on the tiny data set; its exit code and what it printed, spaces and lines joined."""

    def call(name: str, *options: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, [name, str(tiny[0]), "--logs", str(tiny[1]), *map(str, options)])
        assert "Traceback" not in result.output
        return result.exit_code, " ".join(result.output.split())

    return call


def rows(printed: str) -> list[list[str]]:
    """The cells of a printed table."""
    return [[cell.strip() for cell in row.split("│")] for row in re.findall(r"│ (\d+ │[^┃]*?) │ ?(?=│|└)", printed)]


def test_the_ranked_list_has_each_tasks_probability(command, address, candidates):
    code, printed = command("rank", "--user", "ann", "--candidates", candidates, "--server", address)
    assert code == 0, printed
    # At the end ann has viewed a2, a3 and gone. Scores: a1 1 * 11^-0.5, a4 1 * 41^-0.5, new 1, a2 0.5 * 21^-0.5.
    assert rows(printed) == [
        ["1", "new", "1", "1.0000", "1.0000"],
        ["2", "a1", "0.3015", "1.0000", "0.0909"],
        ["3", "a4", "0.1562", "1.0000", "0.0244"],
        ["4", "a2", "0.1091", "0.5000", "0.0476"],
    ]


def test_the_moment_the_exponents_and_the_length_of_the_list_can_be_told(command, address, candidates):
    # A second after the start she has viewed a1 alone: scores 0.5^2, 1, 1, 1.
    options = ("--at", "2017-07-14T02:40:01", "--exponent", "like=2", "--exponent", "share=0", "--top", "3")
    code, printed = command("rank", "--user", "ann", "--candidates", candidates, "--server", address, *options)
    assert code == 0, printed
    assert [row[1] for row in rows(printed)] == ["a4", "new", "a2"]


def test_someone_whom_nobody_knows_is_ranked_for(command, address, candidates):
    code, printed = command(
        "rank", "--user", "zoe", "--candidates", candidates, "--server", address, "--set", "country=BR", "--top", "1"
    )
    assert code == 0, printed
    assert rows(printed)[0][1] == "new"


def test_a_store_says_of_a_moment_what_the_logs_say(command, tiny, address, candidates, tmp_path):
    store = ("--store", f"sqlite://{tmp_path}/store.db")
    code, printed = command("materialize", "--output", tmp_path / "run", *store)
    assert code == 0, printed
    code, printed = command("materialize", "--output", tmp_path / "run", *store)
    assert (code, "already" in printed) == (0, True), printed
    for options in (("--user", "ann"), ("--user", "zoe", "--set", "country=BR")):
        query = (*options, "--at", "2017-07-14T23:00:00", "--candidates", candidates, "--server", address)
        code, of_logs = command("rank", *query)
        assert code == 0, of_logs
        result = CliRunner().invoke(app, ["rank", str(tiny[0]), *store, *map(str, query)])
        assert (result.exit_code, " ".join(result.output.split())) == (0, of_logs)
    shown = CliRunner().invoke(app, ["show", store[1]])
    assert (shown.exit_code, "tiny" in shown.output) == (0, True), shown.output
    for wrong, said in (
        (["rank", str(tiny[0]), "--user", "u", "--candidates", str(candidates)], "either --logs or --store"),
        (["show", f"sqlite://{tmp_path}/none.db"], "no such file"),
        (["update", str(tiny[0]), "--store", "nowhere:"], "expected a store such as"),
        (["materialize", *map(str, tiny), *store, "--output", "x", "--until", "noon"], "expected a day such as"),
        (["serve", str(tmp_path), "--log-requests", "1"], "expected --store"),
        (
            ["serve", str(tmp_path), *store, "--log-requests", "1", "--requests-file", f"{tmp_path}/none/requests"],
            "can't be written",
        ),
    ):
        result = CliRunner().invoke(app, [*wrong[:2], "--logs", *wrong[2:]] if wrong[0] == "materialize" else wrong)
        assert result.exit_code in (1, 2)
        assert said in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("options", "said", "exit_code"),
    [
        (("--exponent", "likes=1"), "no task 'likes'", 2),
        (("--exponent", "like"), "--exponent like: expected NAME=VALUE", 2),
        (("--exponent", "like=much"), "--exponent like: expected a number, got 'much'", 2),
        (("--set", "hour=3"), "hour: is not a feature that the request may set", 2),
        (("--at", "noon"), "'noon'", 2),
        (("--server", "localhost"), "expected an address such as grpc://localhost:8500", 1),
        (("--name", "birds"), "the model served here is tiny", 1),
        (("--version", "8"), "available: 3", 1),
        (("--version", "3", "--label", "stable"), "a version or a label", 1),
        (("--candidates", "nowhere.txt"), "nowhere.txt: can't be read: No such file", 2),
    ],
)
def test_what_is_wrong_is_said_in_words(command, server, candidates, options, said, exit_code):
    usual = ("--user", "ann", "--candidates", candidates, "--server", f"grpc://127.0.0.1:{server.grpc_port}")
    code, printed = command("rank", *usual, *options)
    assert (code, said in printed) == (exit_code, True), printed


def test_a_load_test_prints_a_row_for_each_number_of_candidates(command, address):
    code, printed = command(
        "load-test", "--server", address, "--candidates", 1, "--candidates", 30, "--requests", 20, "--concurrency", 2
    )
    assert code == 0, printed
    assert [row[:3] for row in rows(printed)] == [["1", "20", "0"], ["30", "20", "0"]]
    for row in rows(printed):
        assert 0 < float(row[4]) <= float(row[5]) <= float(row[6])


def test_a_load_test_of_ids_alone_asks_a_server_with_a_store(command, server, model_dir, tiny, tmp_path):
    address = f"grpc://127.0.0.1:{server.grpc_port}"
    code, printed = command("load-test", "--store", "--server", address, "--requests", 5)
    assert (code, "Missing but required" in printed) == (1, True), printed
    url = f"sqlite://{tmp_path}/store.db"
    assert command("materialize", "--output", tmp_path / "run", "--store", url)[0] == 0
    completing = StoreCompleting(load_spec(tiny[0]), open_store(url))
    with ModelServer(model_dir, ServerOptions(grpc_port=0, rest_port=0, completing=completing)) as gateway:
        address = f"http://127.0.0.1:{gateway.rest_port}"
        code, printed = command("load-test", "--store", "--server", address, "--candidates", 30, "--requests", 20)
    assert code == 0, printed
    assert [row[:3] for row in rows(printed)] == [["30", "20", "0"]]


@pytest.fixture
def two_definitions(tiny, model_dir, tmp_path) -> tuple[Path, dict[int, RankingSpec]]:
    """A folder of versions 3 and 5, whose signatures are the same, and their specs; 5 has another delay."""
    spec = load_spec(tiny[0])
    viewed, liked = spec.behaviours
    specs = {3: spec, 5: spec.model_copy(update={"behaviours": (viewed, liked.model_copy(update={"delay": 120}))})}
    for number, declared in specs.items():
        shutil.copytree(model_dir / "3", tmp_path / "tiny" / str(number))
        (tmp_path / "tiny" / str(number) / SPEC_FILE).write_text(declared.to_json())
    return tmp_path / "tiny", specs


def test_a_version_of_another_definition_is_refused_and_the_one_before_serves_on(two_definitions):
    folder, specs = two_definitions
    later = folder.parent / "later"
    (folder / "5").rename(later)
    completing = StoreCompleting(specs[3], open_store("memory:"))
    options = ServerOptions(grpc_port=0, rest_port=0, completing=completing, poll_seconds=3_600)
    with ModelServer(folder, options) as server:
        later.rename(folder / "5")
        server.versions.poll(settled=True)
        newest, before = server.versions.status(model_pb2.ModelSpec(name="tiny"))
        assert (before.version, before.state) == (3, AVAILABLE)
        assert (newest.version, newest.status.error_code) == (5, Code.FAILED_PRECONDITION)
        for digest in map(digest_of, specs.values()):
            assert digest in newest.status.error_message


def test_requests_are_completed_by_the_version_that_is_served(two_definitions):
    folder, specs = two_definitions
    for options, served in (([], 5), (["--version", "3"], 3), (["--version", "5"], 5)):
        result = CliRunner().invoke(app, ["serve", str(folder), "--store", "memory:", *options])
        assert result.exit_code == 2
        assert f"(digest {digest_of(specs[served])})" in " ".join(result.output.split())
    result = CliRunner().invoke(app, ["serve", str(folder), "--store", "memory:", "--version", "4"])
    assert (result.exit_code, "has 3, 5, got 4" in result.output) == (2, True)


def test_a_load_test_of_another_machine_must_be_asked_for(command):
    code, printed = command("load-test", "--server", "grpc://192.0.2.1:8500")
    assert code == 2
    assert "--allow-remote" in printed
    assert is_loopback("http://localhost:1")
    assert is_loopback("grpc://[::1]:1")
    assert not is_loopback("grpc://localhost.example.org:1")
    code, printed = command("load-test", "--server", "grpc://192.0.2.1:8500", "--allow-remote", "--timeout", "0.2")
    assert code == 1
    assert "grpc://192.0.2.1:8500" in printed


def test_recorded_requests_are_of_the_days_of_the_window(tiny_daily):
    ((request,),) = recorded_requests(load_spec(tiny_daily[0]), str(tiny_daily[1]), [1], 5, window="1d:2017-07-15")
    assert (request["user_id"].item(), request["item_id"].tolist()) == (b"ann", [b"a4"])


@pytest.mark.parametrize("name", ["rank", "load-test", "check"])
def test_a_window_of_logs_that_are_not_in_daily_folders_is_refused(command, candidates, name):
    options = ("--user", "ann", "--candidates", candidates) if name == "rank" else ()
    code, printed = command(name, "--window", "1d:2017-07-15", *options)
    assert code == (1 if name == "check" else 2)
    assert "log.files: no folder of a day (YYYY-MM-DD)" in printed


def test_recorded_requests_are_the_same_for_the_same_seed(tiny):
    spec = load_spec(tiny[0])
    once, again = (recorded_requests(spec, str(tiny[1]), [0, 5], users=2) for _ in range(2))
    np.testing.assert_equal(once, again)
    assert [[columns["item_id"].shape for columns in requests] for requests in once] == [[(0,), (0,)], [(5,), (5,)]]
    assert {columns["user_id"].item() for columns in once[0]} == {b"ann", b"bob"}
    ids = id_requests(spec, str(tiny[1]), [0, 5], users=2)
    assert {name for requests in ids for columns in requests for name in columns} == {"user_id", "item_id"}
    alone = [[{name: columns[name] for name in ("user_id", "item_id")} for columns in requests] for requests in once]
    np.testing.assert_equal(ids, alone)


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("c.txt", "a1\n\n 7 \n", ["a1", "7"]),
        ("c.csv", "topic,what\nnews,a1\nart,7\n", ["a1", "7"]),
        ("c.csv", "\ufeffid,what\na1,x\n", ["a1"]),
        ("c.jsonl", '"a1"\n7\n{"item_id": "b"}\n\n{"id": 8}\n', ["a1", "7", "b", "8"]),
    ],
)
def test_candidates_are_read_from_text_csv_and_json_lines(tiny, tmp_path, name, text, ids):
    (tmp_path / name).write_text(text)
    assert read_candidates(load_spec(tiny[0]), tmp_path / name) == ids


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.csv", "topic\nnews\n", r"expected a column id or what or item_id, got the columns \['topic'\]"),
        ("c.csv", "id,topic\n,news\n", "line 2: id is empty"),
        ("c.jsonl", '"a1"\n{"other": 1}\n', "line 2: expected an id, or an object with id or what or item_id"),
        ("c.jsonl", "a1\n", "line 1: not JSON"),
        ("c.txt", b"\xff\xfe", "can't be read"),
    ],
)
def test_a_file_without_candidates_is_told_by_its_line(tiny, tmp_path, name, text, said):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RequestError, match=said):
        read_candidates(load_spec(tiny[0]), tmp_path / name)


def test_serve_answers_until_it_is_stopped(model_dir, command, candidates):
    arguments = ["serve", model_dir, "--grpc-port", 0, "--rest-port", 0, "--label", "stable=3"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *map(str, arguments)],
        cwd=Path(__file__).parents[3],
        stderr=subprocess.PIPE,
        text=True,
    )
    killer = threading.Timer(60, process.kill)
    killer.start()
    try:
        events = []
        for line in process.stderr:
            events.append(json.loads(line))
            if events[-1]["event"] == "serving":
                break
        server = f"grpc://127.0.0.1:{events[-1]['grpc']}"
        code, printed = command(
            "rank", "--user", "ann", "--candidates", candidates, "--server", server, "--label", "stable"
        )
        assert code == 0, printed
        process.send_signal(signal.SIGTERM)
        assert json.loads(process.stderr.readlines()[-1])["event"] == "stopped"
        assert process.wait() == 0
    finally:
        killer.cancel()
        process.kill()
        process.wait()


def test_serve_says_what_it_cannot_serve(model_dir, server, tmp_path):
    def serve(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["serve", *map(str, arguments)])
        return result.exit_code, " ".join(result.output.split())

    assert serve(tmp_path / "none")[0] == 2
    code, printed = serve(model_dir / "3")
    assert (code, "is a version itself" in printed) == (2, True)
    code, printed = serve(model_dir, "--grpc-port", server.grpc_port, "--rest-port", 0)
    assert (code, "can't listen on 127.0.0.1" in printed) == (1, True), printed
    code, printed = serve(model_dir, "--upstream", "grpc://127.0.0.1:1")
    assert (code, "expected --store beside it" in printed) == (2, True), printed
    code, printed = serve(tmp_path / "none", "--upstream", "grpc://127.0.0.1:1", "--store", "memory:")
    assert (code, "expected a model's directory" in printed) == (2, True), printed
    assert serve(model_dir, "--label", "stable=three") == (2, "error: --label stable: expected a number, got 'three'")
