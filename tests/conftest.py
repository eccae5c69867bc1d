"""Which tests one process of pytest-xdist runs, so that what they share is made once."""

from pathlib import PurePosixPath

import pytest
from xdist.scheduler import LoadScopeScheduling

# By file, the run that these end-to-end tests read.
SHARED_RUNS = {
    "deskdrop": ("deskdrop_test.py", "serving_skew_test.py"),
    "simulated": ("kubeflow_test.py", "report_test.py", "resume_test.py", "run_test.py", "worker_processes_test.py"),
}


class ByWhatIsShared(LoadScopeScheduling):
    """A folder goes to one process, and its fixtures with it; end-to-end tests go by the run they share, or by file."""

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.partition("::")[0])
        if path.parent.name != "end_to_end":
            return str(path.parent)
        return next((run for run, files in SHARED_RUNS.items() if path.name in files), path.name)


@pytest.hookimpl
def pytest_xdist_make_scheduler(config, log) -> LoadScopeScheduling:
    return ByWhatIsShared(config, log)
