"""One run at a time in a folder, and a killed one holds nobody up."""

import os
import signal
import subprocess
import sys

import pytest

from pipeline.runners.run_lock import RunningError, only_run

HOLD = """
import sys, time
from pathlib import Path
from pipeline.runners.run_lock import only_run
with only_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_second_run_is_refused_and_a_killed_one_leaves_no_lock(tmp_path, end):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(RunningError, match=f"another run \\(process {holder.pid}\\) is writing"),
            only_run(tmp_path),
        ):
            pass
    finally:
        os.kill(holder.pid, end)
        holder.wait()
    with only_run(tmp_path):
        pass
    with only_run(tmp_path):
        assert (tmp_path / ".run.lock").read_text() == f"{os.getpid()}\n"
