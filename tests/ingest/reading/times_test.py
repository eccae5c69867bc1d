"""Times: numbers with their digits, texts as systems write them, local clocks, and the precision of a column."""

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.clock import with_precision
from ingest.sources import match_files
from ingest.times import day_start, derived, times
from ingest.values import Column, Rejects
from schema.clock import Timestamp
from schema.features import Feature
from schema.spec import RankingSpec

T = 1_703_456_000  # 2023-12-24 22:13:20 UTC


def ticks(values, clock: Timestamp) -> tuple[list[int], list[str]]:
    array = values if isinstance(values, pa.Array) else pa.array(values, pa.string())
    rejects = Rejects(len(array))
    result = times(Column("at", array, rejects), clock)
    return result[~rejects.mask].tolist(), [reason for reason, _ in rejects.reasons.values()]


@pytest.mark.parametrize(
    ("values", "clock", "expected"),
    [
        ([f"{T}"], {}, T),
        ([f"{T}.25"], {}, T),
        ([f"{T}.25"], {"precision": "ms"}, T * 1000 + 250),
        ([f" {T}.123456789 "], {"precision": "ns"}, T * 10**9 + 123_456_789),
        ([f"{T}250.75"], {"unit": "ms"}, T * 1000 + 250),
        (["1.703456e9"], {}, T),
        (["1.70345600025E9"], {"precision": "ms"}, T * 1000 + 250),
        ([f"{T}000000000"], {"unit": "ns"}, T * 10**9),
        (pa.array([T + 0.25]), {"precision": "us"}, T * 10**6 + 250_000),
        (pa.array([float(T)]), {}, T),
        (
            pa.array([Decimal(f"{T}.125000")], pa.decimal128(20, 6)).cast(pa.string()),
            {"precision": "ms"},
            T * 1000 + 125,
        ),
        (pa.array([T * 10**6 + 7], pa.timestamp("us")), {}, T),
        (pa.array([T * 10**6 + 7], pa.timestamp("us")), {"precision": "us"}, T * 10**6 + 7),
        (
            pa.array([T * 10**9 + 7], pa.timestamp("ns", "America/Lima")),
            {"unit": "iso", "precision": "ns"},
            T * 10**9 + 7,
        ),
        (["86400000"], {"unit": "ms", "origin": "2024-01-01"}, 1_704_153_600_000),
        (["0.5"], {"origin": "2024-01-01T00:00:00+01:00", "precision": "ms"}, 1_704_063_600_500),
    ],
)
def test_numbers_keep_the_digits_that_the_clock_counts(values, clock, expected):
    assert ticks(values, Timestamp(column="at", **clock)) == ([expected], [])


@pytest.mark.parametrize(
    "text",
    [
        "2023-12-24T22:13:20Z",
        "2023-12-24 22:13:20",
        "2023-12-24 22:13:20 UTC",
        "2023-12-24 22:13:20.000000 UTC",
        "2023-12-24 22:13:20+00:00",
        "2023-12-24T23:13:20+0100",
        "2023/12/24 22:13:20",
        "2023/12/24 22:13:20Z",
    ],
)
def test_texts_of_many_systems_are_the_same_time(text):
    clock = Timestamp(column="at", unit="iso")
    assert ticks([text], clock) == ([T * 1000], [])
    # Beside others that are written in another way.
    assert ticks([text, "2023-12-24T22:13:20Z", text], clock) == ([T * 1000] * 3, [])


def test_minutes_and_single_digits_are_read():
    clock = Timestamp(column="at", unit="iso")
    moment = int(datetime(2024, 3, 5, 7, 4, tzinfo=UTC).timestamp()) * 1000
    assert ticks(["2024/03/05 07:04", "2024/3/5 7:04", "2024-03-05T07:04"], clock) == ([moment] * 3, [])
    assert ticks(["2024-03-05", "soon"], clock) == (
        [int(datetime(2024, 3, 5, tzinfo=UTC).timestamp()) * 1000],
        ["at: expected an ISO 8601 time"],
    )


def test_a_declared_format_is_that_of_strptime():
    clock = Timestamp(column="at", format="%d.%m.%Y %H:%M:%S", timezone="Europe/Berlin")
    result, reasons = ticks(["24.12.2023 23:13:20", "2023-12-24"], clock)
    assert (result, reasons) == ([T * 1000], ["at: expected a time like '%d.%m.%Y %H:%M:%S'"])


def test_local_times_are_those_of_the_zone_in_summer_and_in_winter():
    clock = Timestamp(column="at", unit="iso", timezone="America/New_York")
    summer, winter = (int(datetime(2024, month, 1, 16, tzinfo=UTC).timestamp()) * 1000 for month in (7, 1))
    assert ticks(["2024-07-01 12:00:00", "2024-01-01 11:00:00"], clock)[0] == [summer, winter]
    assert ticks(["2024-07-01 12:00:00-04:00"], clock)[0] == [summer]
    local = pa.array([datetime(2024, 7, 1, 12), datetime(2024, 1, 1, 11)], pa.timestamp("us"))
    assert ticks(local, clock)[0] == [summer, winter]


def test_clock_features_go_by_the_zone():
    moments = np.array([datetime(2024, 7, 1, 2, tzinfo=UTC).timestamp()]).astype(np.int64)
    hour, day = (Feature(name="f", source="log", derive=name) for name in ("hour_of_day", "day_of_week"))
    assert (derived(hour, moments, Timestamp(column="at"))[0], derived(day, moments, Timestamp(column="at"))[0]) == (
        2,
        0,
    )
    york = Timestamp(column="at", timezone="America/New_York")
    assert (derived(hour, moments, york)[0], derived(day, moments, york)[0]) == (22, 6)


def test_a_day_begins_at_midnight_of_the_zone():
    day = (datetime(2024, 3, 10, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
    york = Timestamp(column="at", timezone="America/New_York")
    assert day_start(day, Timestamp(column="at")) == day * 86_400
    assert day_start(day, york) == day * 86_400 + 5 * 3600
    # The clocks went forward on that day.
    assert day_start(day + 1, york) - day_start(day, york) == 23 * 3600


def test_what_is_no_time_of_a_log_is_left_out():
    clock = Timestamp(column="at")
    values = ["soon", None, "-5", "99999999999999999999", f"{T}000", "1e400", f"{T}"]
    result, reasons = ticks(values, clock)
    assert result == [T]
    assert len(reasons) == 6


def spec(**timestamp) -> RankingSpec:
    return RankingSpec.model_validate(
        {
            "name": "a",
            "log": {
                "layout": "impressions",
                "files": "*",
                "user": "u",
                "item": "i",
                "timestamp": {"column": "at", **timestamp},
            },
            "tasks": [{"name": "click", "column": "c"}],
        }
    )


@pytest.mark.parametrize(
    ("column", "clock", "precision"),
    [
        (pa.array([19_716], pa.date32()), {}, None),
        (pa.array([T], pa.timestamp("us")), {}, "us"),
        (pa.array([T], pa.timestamp("ns")), {"unit": "iso"}, "ns"),
        (pa.array([T], pa.timestamp("ms")), {"unit": "us"}, None),
        (pa.array([T], pa.timestamp("us")), {"precision": "s"}, "s"),
        (pa.array([T]), {}, None),
        (pa.array([T + 0.5]), {}, "ms"),
        (pa.array([f"{T}.5"]), {}, "ms"),
        (pa.array([f"{T}.500000"]), {}, "ms"),
        (pa.array([f"{T}.1234"]), {}, "us"),
        (pa.array([f"{T}"]), {}, None),
    ],
)
def test_the_columns_own_unit_counts_where_it_is_finer(tmp_path, column, clock, precision):
    pq.write_table(pa.table({"at": column}), tmp_path / "log.parquet")
    declared = spec(**clock)
    resolved = with_precision(declared, match_files(declared, str(tmp_path)))
    assert resolved.log.timestamp.precision == precision
    assert resolved.log.timestamp.example_ticks_per_second == declared.log.timestamp.example_ticks_per_second


@pytest.mark.parametrize(
    ("clock", "said"),
    [
        ({"column": "at", "timezone": "Mars/Olympus"}, "expected a time zone such as Europe/Berlin"),
        ({"column": "at", "origin": "soon"}, "expected a date or an ISO 8601 time"),
        ({"column": "at", "unit": "iso", "origin": "2024-01-01"}, "`origin` is of times that are numbers"),
        ({"column": "at", "unit": "ms", "format": "%Y"}, "`format` is of times in text, got `unit: ms`"),
        ({"column": "at", "unit": "ms", "precision": "s"}, "which is coarser than `unit: ms`"),
        ({"unit": "ms"}, "expected `column` beside unit"),
    ],
)
def test_what_does_not_fit_is_refused(clock, said):
    with pytest.raises(ValueError, match=said):
        Timestamp(**clock)
