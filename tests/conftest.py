"""Which tests one process of pytest-xdist runs, so that what they share is made once; and what was skipped."""

import gc
import os
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from xdist.scheduler import LoadScopeScheduling

# Beam makes an argument parser for each look at its options, and argparse looks for translations of each word on disk.
os.environ["LANGUAGE"] = "C"

# What pyproject.toml says of our own modules, for the processes that tests start: there a name stands for itself alone.
_PROJECT = Path(__file__).parents[1]
_OWN = [
    ".".join(file.relative_to(_PROJECT).with_suffix("").parts).removesuffix(".__init__")
    for package in tomllib.loads((_PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
    for file in sorted((_PROJECT / package).rglob("*.py"))
]
os.environ["PYTHONWARNINGS"] = ",".join(f"error::DeprecationWarning:{module}" for module in _OWN)

# Else the collector goes over TFX's million objects again and again.
gc.set_threshold(50_000, 20, 50)

# By file, the run that these end-to-end tests read.
SHARED_RUNS = {
    "deskdrop": ("deskdrop_test.py", "serving_skew_test.py"),
    "kuairand": ("kuairand_test.py",),
    "simulated": (
        "ab_test_test.py",
        "java_fuser_test.py",
        "kubeflow_test.py",
        "online_test.py",
        "prism_test.py",
        "report_test.py",
        "resume_test.py",
        "run_test.py",
        "worker_processes_test.py",
    ),
}
# The longest first, so that neither process is left alone with one at the end.
LONGEST = ("simulated", "models", "deskdrop", "layers", "kuairand", "serving")


def scope_of(nodeid: str) -> str:
    """Returns the name of what runs in one process: end-to-end tests by their run, the others by what they test."""
    path = PurePosixPath(nodeid.partition("::")[0])
    folders = path.parts[1:-1] if path.parts[0] == "tests" else path.parts[:-1]
    if folders[:1] == ("end_to_end",):
        return next((run for run, files in SHARED_RUNS.items() if path.name in files), path.name)
    if folders[:2] == ("models", "layers"):
        return "layers"
    return "/".join(folders[:2] if folders[:1] == ("components",) else folders[:1])


class ByWhatIsShared(LoadScopeScheduling):
    """Gives each scope to one process."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


@pytest.hookimpl
def pytest_xdist_make_scheduler(config, log) -> LoadScopeScheduling:
    return ByWhatIsShared(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="Fail where a test is skipped.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        scope = scope_of(item.nodeid)
        return LONGEST.index(scope) if scope in LONGEST else len(LONGEST)

    items.sort(key=rank)


def skipped_reasons(config: pytest.Config) -> Counter[str]:
    """Returns why tests were skipped, and how many for each reason."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []
    return Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Iterator[None]:
    """Says at the very end what was skipped and what brings it, a line each: a green that skipped is not the whole."""
    yield
    for reason, count in skipped_reasons(config).items():
        terminalreporter.write_line(f"NOT TESTED ({count} skipped): {reason}", yellow=True, bold=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    controls = not hasattr(session.config, "workerinput")
    if controls and session.config.getoption("--no-skips") and skipped_reasons(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
