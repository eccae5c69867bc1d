"""Which folders are days: by their own name, by Hive's, and in the log's time zone."""

from datetime import UTC, date, datetime

import pytest

from ingest.check import check
from ingest.errors import IngestError
from ingest.windows.window import Window, daily_logs, log_files, times_of
from schema.spec import RankingSpec


def spec(**timestamp) -> RankingSpec:
    return RankingSpec.model_validate(
        {
            "name": "a",
            "log": {
                "layout": "impressions",
                "files": ["*.csv", "hour=*/*.csv"],
                "user": "u",
                "item": "i",
                "timestamp": {"column": "at", **timestamp},
                "allowed_lateness": "0s",
            },
            "features": [
                {"name": "hour", "source": "log", "kind": "categorical"},
                {"name": "dt", "source": "log", "kind": "categorical"},
            ],
            "tasks": [{"name": "click", "column": "c"}],
        }
    )


def seconds(day: int, hour: int) -> int:
    return int(datetime(2026, 1, day, hour, tzinfo=UTC).timestamp())


def test_folders_of_any_style_are_days(tmp_path):
    for name in ("2026-01-01", "20260102", "dt=2026-01-03", "dt=20260104", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.csv").write_text("u,i,at,c\n")
    assert list(daily_logs(spec(), str(tmp_path))) == [date(2026, 1, day) for day in (1, 2, 3, 4)]
    assert len(log_files(spec(), str(tmp_path), Window.parse("2d:2026-01-03"))) == 2
    (tmp_path / "20260105_copy").mkdir()
    (tmp_path / "20260105_copy" / "log.csv").write_text("u,i,at,c\n")
    with pytest.raises(IngestError, match="is it a copy"):
        daily_logs(spec(), str(tmp_path))


def test_hives_folders_are_columns_and_days_of_a_window(tmp_path):
    for day in (1, 2):
        for hour in (3, 4):
            folder = tmp_path / f"dt=2026-01-0{day}/hour=0{hour}"
            folder.mkdir(parents=True)
            rows = [f"u{i},v{i},{seconds(day, hour) + 60 * i},{i % 2}" for i in range(20)]
            (folder / "log.csv").write_text("\n".join(["u,i,at,c", *rows]))
    report = check(spec(), str(tmp_path), window="1d:2026-01-02")
    assert report.rows == {"log": 40}
    assert report.inputs["log"].quarantined == 0
    assert report.column_samples["hour"].values == ("03", "04")
    assert report.column_samples["dt"].values == ("2026-01-02",)


def test_the_days_of_folders_are_those_of_the_time_zone(tmp_path):
    (tmp_path / "2026-01-01").mkdir()
    (tmp_path / "2026-01-01/log.csv").write_text("u,i,at,c\n")
    for zone, offset in (("UTC", 0), ("America/Lima", 5)):
        declared = spec(timezone=zone)
        (file,) = log_files(declared, str(tmp_path), Window.parse("1d:2026-01-01"))
        assert times_of(declared, file) == (seconds(1, offset), seconds(2, offset))
