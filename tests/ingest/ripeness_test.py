"""Impressions whose feedback may still come when the log ends are in no sample space, whether some has come or not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ingest.check import check
from ingest.check_json import as_json
from ingest.ripeness import Span, ripe_until, split_times, together
from ingest.time_split import TimeCounts
from schema.spec import RankingSpec

T, HOUR = 1_703_456_000, 3_600
LOG = {
    "layout": "events",
    "files": "log*",
    "user": "user",
    "item": "item",
    "timestamp": {"column": "at"},
    "event": "event",
    "impression": "view",
    "attribution_window": "1h",
}


def spec(split: dict | None = None, **log) -> RankingSpec:
    tasks = [{"name": "like", "event": "like"}, {"name": "buy", "event": "buy", "within": {"event": "like"}}]
    declared = {"name": "shop", "log": LOG | log, "tasks": tasks, "split": split or {}}
    return RankingSpec.model_validate(declared)


def report(folder: Path, end: int, **log) -> dict:
    """Checks a view every ten minutes from `T` on, each liked soon, every second bought; a last one at `end`."""
    rows = []
    for i in range(30):
        rows += [f"u{i % 4},v{i},{T + 600 * i},view", f"u{i % 4},v{i},{T + 600 * i + 60},like"]
        rows += [f"u{i % 4},v{i},{T + 600 * i + 90},buy"] if i % 2 else []
    rows.append(f"u9,v1,{end},view")
    (folder / "log.csv").write_text("\n".join(["user,item,at,event", *rows]) + "\n")
    return as_json(check(spec(**log), str(folder)))


def test_the_youngest_are_in_no_space_even_with_feedback(tmp_path):
    # The log ends at 290 minutes and 1 s: views from 231 minutes on are unripe, 24 to 29 and the last one.
    outcome = report(tmp_path, T + 290 * 60 + 1)
    assert outcome["unripe"] == {"like": 7, "buy": 6}
    assert outcome["tasks"]["like"] == {"examples": 31, "in_space": 24, "positives": 24}
    assert outcome["tasks"]["buy"] == {"examples": 31, "in_space": 24, "positives": 12}
    (said,) = [finding for finding in outcome["findings"] if finding["where"] == "log.unripe"]
    assert said["severity"] == "warning"
    assert said["message"].startswith("7 of 31 impressions are younger than log.attribution_window (1h)")


def test_all_of_them_count_where_the_spec_keeps_them(tmp_path):
    outcome = report(tmp_path, T + 290 * 60 + 1, unripe="keep")
    assert outcome["unripe"] == {}
    assert outcome["tasks"]["like"] == {"examples": 31, "in_space": 31, "positives": 30}
    assert [finding for finding in outcome["findings"] if finding["where"] == "log.unripe"] == []


@pytest.mark.parametrize(("end", "unripe"), [(240 * 60 + HOUR - 1, 7), (240 * 60 + HOUR, 6)])
def test_an_impression_is_ripe_when_its_window_is_over(tmp_path, end, unripe):
    # The last view is 300 minutes less a second after the first one; that at 240 minutes is 24.
    assert report(tmp_path, T + end)["unripe"]["like"] == unripe


def test_a_log_shorter_than_the_window_masks_nothing_and_says_so(tmp_path):
    outcome = report(tmp_path, T + 290 * 60 + 1, attribution_window="1d")
    assert outcome["unripe"] == {}
    assert outcome["tasks"]["like"]["positives"] == 30
    (said,) = [finding for finding in outcome["findings"] if finding["where"] == "log.unripe"]
    assert said["message"].startswith("all 31 impressions are younger than log.attribution_window (1d)")


def test_splits_are_shares_of_ripe_impressions():
    times = TimeCounts.of(np.arange(0, 100))
    assert split_times(spec(), times, 49).counts.sum() == 50
    assert split_times(spec(), times, None) is times
    assert split_times(spec(split={"by": "user"}), times, 49) is times


def test_only_an_event_log_has_unripe_impressions():
    log = {key: LOG[key] for key in ("files", "user", "item", "timestamp")} | {"layout": "impressions"}
    tasks = [{"name": "like", "column": "like"}]
    plain = RankingSpec.model_validate({"name": "shop", "log": log, "tasks": tasks})
    assert ripe_until(plain, Span(0, 10**9)) is None
    with pytest.raises(ValidationError, match="`unripe` belongs to layout `events`"):
        RankingSpec.model_validate({"name": "shop", "log": log | {"unripe": "keep"}, "tasks": tasks})


ROWS = st.lists(st.tuples(st.integers(0, 99), st.booleans()), max_size=20)


@given(rows=ROWS, cut=st.integers(0, 20))
def test_a_log_has_the_same_span_however_it_is_cut_into_files(rows, cut):
    def span(some):
        return Span.of(np.array([time for time, opens in some if opens]), np.array([time for time, _ in some]))

    assert together([span(rows[:cut]), span(rows[cut:])]) == span(rows)
