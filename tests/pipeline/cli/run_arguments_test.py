"""What `fulcrum run` refuses of its output folder before anything runs."""

from pathlib import Path

import pytest

from pipeline.cli.run_arguments import UsageError, prepare

PROJECT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("gs://bucket/run", "--output gs:/bucket/run: expected a folder of this machine or one that is mounted here"),
        ("runs/[1]", r"--output runs/\[1\]: expected a folder without"),
        ("/dev/null/run", "--output /dev/null/run: can't be written: Not a directory"),
    ],
)
def test_an_output_that_no_run_can_write_is_refused(output, message):
    with pytest.raises(UsageError, match=message):
        prepare(
            PROJECT / "schema" / "specs" / "kuairand.yaml", str(PROJECT / "tests" / "data" / "kuairand"), Path(output)
        )
