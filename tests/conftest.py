"""Which tests go to one worker of pytest-xdist, so that what they share is made once."""

from pathlib import Path

import pytest

# Whole runs that tests of several files read.
SHARED_RUNS = ("run", "deskdrop_run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A folder goes to one worker, and its fixtures with it; end-to-end tests go by the run they share, or by file."""
    for item in items:
        path = Path(item.path)
        group = str(path.parent)
        if path.parent.name == "end_to_end":
            names = getattr(item, "fixturenames", ())
            group = next((name for name in SHARED_RUNS if name in names), path.name)
        item.add_marker(pytest.mark.xdist_group(group))
