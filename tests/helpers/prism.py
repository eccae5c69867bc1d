"""Starts Prism, Beam's portable runner in Go, and a pool of workers beside it, as a cluster has them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam

from pipeline.runners.beam import Cluster

_BIN = Path(__file__).parents[2] / "build" / "bin"
PRISM, BOOT = _BIN / "prism", _BIN / "container"
MISSING = "Prism and Beam's boot aren't here, with Go `make prism` brings them"


def is_there() -> bool:
    """Returns whether `make prism` has brought this Beam's Prism, and `boot`, by which containers start a worker."""
    return (_BIN / f"prism-v{beam.__version__}").exists() and PRISM.exists() and BOOT.exists()


@contextmanager
def running(folder: Path, boot: bool) -> Iterator[Cluster]:
    """Yields the addresses of a job server and of a pool whose workers are other processes; logs go to `folder`.

    Args:
      boot: whether workers are started as in a container, by Beam's `boot`, which fetches what the job staged. It
        stages into one fixed folder, so that no two may run at once.
    """
    jobs, pool = _free_port(), _free_port()
    environment = {
        **os.environ,
        # The pool starts whatever `python` is first on the path; boot would give it an environment of its own.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",
    }
    pool_command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={pool}"]
    commands = {
        "prism": [str(PRISM), f"-job_port={jobs}", "-serve_http=false"],
        "pool": [*pool_command, *([f"--container_executable={BOOT}"] if boot else [])],
    }
    processes = []
    try:
        for name, command in commands.items():
            with (folder / f"{name}.log").open("wb") as log:
                # boot leaves a file in the working folder.
                started = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
                processes.append(started)
        for port in (jobs, pool):
            _wait_for(port)
        yield Cluster(job_endpoint=f"localhost:{jobs}", worker_pool=f"localhost:{pool}")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("localhost", 0))
        return unused.getsockname()[1]


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("localhost", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
