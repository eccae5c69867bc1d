"""`fulcrum materialize`, as its user sees it."""

import pytest
import yaml
from redis_server import NO_REDIS, REDIS, redis_server
from typer.testing import CliRunner

from pipeline.cli.main import app
from serving.store import redis as redis_backend


@pytest.fixture
def run(days, tmp_path):
    """Runs the command on the days of a store."""
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(days.spec.model_dump(mode="json", exclude_defaults=True)))

    def materialize(store: str):
        where = ["--logs", str(days.logs), "--output", str(tmp_path / "output"), "--store", store]
        return CliRunner().invoke(app, ["materialize", str(spec), *where, "--until", "2026-01-02", "--grace", "0"])

    return materialize


def test_a_store_that_can_not_be_made_is_told_with_its_path(run, tmp_path):
    (tmp_path / "file").write_text("")
    done = run(f"sqlite://{tmp_path}/file/folder/store.db")
    assert done.exit_code == 1
    assert f"{tmp_path}/file/folder/store.db: can't be made" in done.output
    assert "Not a directory" in done.output
    assert "Traceback" not in done.output


@pytest.mark.skipif(REDIS is None, reason=NO_REDIS)
def test_the_stores_password_is_not_printed(run, tmp_path):
    with redis_server(tmp_path) as url:
        client = redis_backend.redis.Redis.from_url(url)
        client.config_set("requirepass", "sec:r@t")
        store = url.replace("redis://", "redis://:sec:r%40t@")
        outputs = [run(store), run(store), run(store.replace("r%40t", "wrong"))]
    assert [done.exit_code for done in outputs] == [0, 0, 1]
    assert f"{url} has generation" in outputs[1].output
    assert not any("sec:" in done.output for done in outputs)
