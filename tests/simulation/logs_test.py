import gzip
import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import beta
from sklearn.metrics import roc_auc_score

from schema.loading import load_spec
from schema.spec import RankingSpec
from simulation import logs
from simulation.logs import PARAMETERS, simulate

SPEC = Path(__file__).parents[2] / "schema" / "specs" / "shortvideo.yaml"
BINARY = ("view_through", "like", "share", "comment")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("logs")
    simulate(out, users=1_000, impressions=40_000, seed=1, items=400)
    return out


@pytest.fixture(scope="module")
def log(folder: Path) -> pd.DataFrame:
    rows = pd.concat([pd.read_csv(path) for path in sorted(folder.glob("impressions-*"))], ignore_index=True)
    rows["view_through"] = rows.play_ms >= 3_000
    rows["completion"] = np.minimum(rows.play_ms / rows.duration_ms, 1)
    return rows


@pytest.fixture(scope="module")
def truth(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "truth.parquet")


def bytes_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_same_arguments_write_the_same_bytes(tmp_path):
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        simulate(tmp_path / name, users=50, impressions=500, seed=seed, days=2)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    assert bytes_of(tmp_path / "one") != bytes_of(tmp_path / "other")


def test_without_task_interests_nothing_has_changed_since_there_are_any(tmp_path):
    simulate(tmp_path, users=60, impressions=3_000, seed=11, days=3, task_interests=0)
    texts = [gzip.decompress(path.read_bytes()) for path in sorted(tmp_path.glob("impressions-*"))]
    texts += [(tmp_path / name).read_bytes() for name in ("users.csv", "items.csv", "parameters.json")]
    truth = pd.read_parquet(tmp_path / "truth.parquet").round(9).to_csv(index=False, lineterminator="\n")
    digest = hashlib.sha256(b"".join([*texts, truth.encode()])).hexdigest()
    assert digest == "649b57fb469b849717a710e77fe2a419410afe4a9563ac1fd0aca98eb997e407"


def test_a_day_of_hours_is_one_row_group_and_one_stream_of_text(tmp_path):
    simulate(tmp_path, users=10, impressions=500, seed=1, days=2)
    assert pq.ParquetFile(tmp_path / "truth.parquet").num_row_groups == 2
    for path in tmp_path.glob("impressions-*"):
        assert gzip.decompress(path.read_bytes()).count(b"timestamp,") == 1


def test_a_row_group_takes_so_many_rows_however_they_come(tmp_path, monkeypatch):
    groups = {}
    for rows in (100, 1_000):
        monkeypatch.setattr(logs, "_ROW_GROUP", rows)
        simulate(tmp_path, users=10, impressions=500, seed=1, days=2)
        file = pq.ParquetFile(tmp_path / "truth.parquet")
        groups[rows] = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    first, second = groups[1_000]
    expected = [[100] * (count // 100) + [count % 100] * (count % 100 > 0) for count in (first, second)]
    assert groups[100] == expected[0] + expected[1]


def test_a_folder_keeps_no_log_of_an_earlier_simulation(tmp_path):
    simulate(tmp_path, users=10, impressions=100, seed=1, days=3)
    simulate(tmp_path, users=10, impressions=100, seed=1, days=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "impressions-2026-01-01.csv.gz",
        "impressions-2026-01-02.csv.gz",
        "items.csv",
        "parameters.json",
        "truth.parquet",
        "users.csv",
    ]


def test_a_simulation_that_is_killed_leaves_no_parameters(tmp_path):
    def kill(done: int, total: int) -> None:
        raise KeyboardInterrupt

    simulate(tmp_path, users=10, impressions=100, seed=1, days=2)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path, users=10, impressions=100, seed=2, days=2, progress=kill)
    assert not (tmp_path / PARAMETERS).exists()


def test_daily_logs_are_the_same_files_each_in_the_folder_of_its_day(tmp_path):
    simulate(tmp_path / "flat", users=10, impressions=100, seed=1, days=2)
    simulate(tmp_path / "daily", users=10, impressions=100, seed=1, days=3, daily=True)
    simulate(tmp_path / "daily", users=10, impressions=100, seed=1, days=2, daily=True)
    for file in (tmp_path / "flat").glob("impressions-*"):
        day = file.name.removeprefix("impressions-").removesuffix(".csv.gz")
        assert (tmp_path / "daily" / day / file.name).read_bytes() == file.read_bytes()
    assert len([*(tmp_path / "daily").rglob("impressions-*")]) == 2


def test_it_says_what_it_wrote(tmp_path):
    calls = []
    written = simulate(
        tmp_path, users=10, impressions=101, seed=1, days=2, progress=lambda done, total: calls.append((done, total))
    )
    assert (written.impressions, written.users, written.files) == (101, 10, 2)
    assert len(calls) == 2
    assert calls[-1] == (101, 101)
    lines = sum(gzip.decompress(path.read_bytes()).count(b"\n") - 1 for path in tmp_path.glob("impressions-*"))
    assert lines == 101


def test_the_log_is_in_time_order_within_its_days(folder, log):
    assert log.timestamp.is_monotonic_increasing
    assert len(log) == 40_000
    for path in folder.glob("impressions-*"):
        days = pd.to_datetime(pd.read_csv(path).timestamp, unit="ms").dt.date.unique()
        assert [f"impressions-{day}.csv.gz" for day in days] == [path.name]


def test_every_column_of_the_shipped_spec_exists(folder, log):
    spec: RankingSpec = load_spec(SPEC)
    tables = {"log": log, "users": pd.read_csv(folder / "users.csv"), "items": pd.read_csv(folder / "items.csv")}
    for feature in spec.features:
        assert feature.derive or feature.source_column in tables[feature.source]
    assert {spec.log.user, spec.log.item, spec.log.timestamp.column} <= set(log)
    assert set(log.video_id) <= set(tables["items"].video_id)


def test_nothing_is_given_to_a_video_that_was_not_played(log):
    skipped = log[log.clicked == 0]
    assert len(skipped) > 0
    assert (skipped[["play_ms", "like", "share", "comment"]] == 0).all(axis=None)


def test_base_rates_are_of_the_order_of_a_real_service(log):
    plays = log[log.clicked == 1]
    assert 0.45 < log.view_through.mean() < 0.7
    assert 0.05 < plays.like.mean() < 0.15
    assert 0.02 < plays.share.mean() < 0.09
    assert 0.02 < plays.comment.mean() < 0.09
    assert (plays.play_ms > plays.duration_ms).any(), "some play longer than the video lasts"


@pytest.mark.parametrize("task", [*BINARY, "completion"])
def test_the_truth_is_calibrated_on_what_happened(log, truth, task):
    assert (truth.timestamp == log.timestamp).all()
    assert (truth.video_id == log.video_id).all()
    space = np.ones(len(log), bool) if task == "view_through" else log.clicked.to_numpy() == 1
    expected, observed = truth[task][space], log[task][space].astype(float)
    # In every tenth of the expected values, the mean that happened is within 4 standard errors of the expected one.
    for _, tenth in pd.DataFrame({"p": expected, "y": observed}).groupby(pd.qcut(expected, 10, labels=False)):
        error = 4 * max(tenth.y.std(), 1e-3) / np.sqrt(len(tenth))
        assert abs(tenth.p.mean() - tenth.y.mean()) < error


def test_view_through_is_the_chance_of_a_click_and_three_seconds(log, truth):
    # A Beta of concentration 4 whose mean gives back the logged expectation, by scipy's own distribution.
    mean = np.linspace(0.001, 0.999, 2_000)
    row = truth.iloc[0]
    expected = mean * beta.cdf(0.95, 4 * mean + 1, 4 * (1 - mean)) + beta.sf(0.95, 4 * mean, 4 * (1 - mean))
    m = np.interp(row.completion, expected, mean)
    three_seconds = beta.sf(3_000 / log.duration_ms[0], 4 * m, 4 * (1 - m))
    assert row.view_through == pytest.approx(row.clicked * three_seconds, abs=1e-3)


@pytest.mark.parametrize("task", BINARY)
def test_a_perfect_model_leaves_a_wide_margin_over_the_gates(log, truth, task):
    space = np.ones(len(log), bool) if task == "view_through" else log.clicked.to_numpy() == 1
    assert roc_auc_score(log[task][space], truth[task][space]) > load_spec(SPEC).gates[task].auc + 0.1


def test_a_perfect_model_explains_half_of_the_completion(log, truth):
    played = log.clicked == 1
    error = ((log.completion - truth.completion)[played] ** 2).mean()
    assert error < 0.5 * log.completion[played].var()


def test_tasks_pull_against_each_other(folder, log, truth):
    by_item = truth.groupby("video_id").mean(numeric_only=True)
    by_item = by_item[log.groupby("video_id").size() >= 50]
    assert by_item.clicked.corr(by_item.completion) < 0.1, "what is clicked is not what is finished"
    assert by_item.like.corr(by_item.comment) < 0, "what is commented is not what is liked"


def test_the_past_says_more_than_the_user_and_the_item(folder, log, truth):
    category = log.video_id.map(pd.read_csv(folder / "items.csv").set_index("video_id").category)
    logit = np.log(truth.like / (1 - truth.like))
    logit -= logit.groupby(log.video_id).transform("mean")
    logit -= logit.groupby([log.user_id, category]).transform("mean")
    last_like = (
        log.timestamp.where(log.like == 1).groupby([log.user_id, category]).transform(lambda t: t.shift().ffill())
    )
    liked_today = log.timestamp - last_like < 86_400_000
    assert liked_today.sum() > 1_000
    assert logit[liked_today].mean() > logit[~liked_today].mean() + 0.05


def test_users_are_heavy_tailed_and_items_are_zipf(log):
    by_user = log.user_id.value_counts(normalize=True)
    by_item = log.video_id.value_counts(normalize=True)
    assert by_user.head(len(by_user) // 10).sum() > 0.35
    assert by_item.head(len(by_item) // 10).sum() > 0.25


def test_some_values_are_missing_as_in_real_logs(folder, log):
    users = pd.read_csv(folder / "users.csv")
    assert 0.03 < log.network.isna().mean() < 0.07
    assert users.age_band.isna().any()
    assert not set(log.user_id) <= set(users.user_id)


@pytest.mark.parametrize("argument", ["users", "impressions", "days", "items"])
def test_a_count_below_one_is_refused_by_name(tmp_path, argument):
    arguments = {"users": 10, "impressions": 10, "seed": 1, "days": 1, "items": 10} | {argument: 0}
    with pytest.raises(ValueError, match=f"{argument}: expected at least 1, got 0"):
        simulate(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_the_shipped_gate_asks_a_fifth_less_error_than_a_constants(tmp_path):
    simulate(tmp_path, users=5_000, impressions=200_000, seed=1)
    columns = ["play_ms", "duration_ms", "clicked"]
    days = [pd.read_csv(path, usecols=columns) for path in sorted(tmp_path.glob("impressions-*"))[-4:]]
    # The last tenth is the test split, the tenth before it the eval split.
    evaluated = pd.concat(days)[-40_000:-20_000].query("clicked == 1")
    constant = np.minimum(evaluated.play_ms / evaluated.duration_ms, 1).var()
    assert load_spec(SPEC).gates["completion"].mse == pytest.approx(0.8 * constant, abs=1e-3)


def peak_bytes(out: Path, days: int) -> int:
    """Returns the most that NumPy, Python and Arrow hold at once while logs of so many equal days are simulated."""
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        simulate(out, users=200, impressions=20_000 * days, seed=1, days=days, items=400)
        return tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


def test_memory_is_that_of_a_day_however_long_the_log(tmp_path):
    assert peak_bytes(tmp_path / "long", days=8) < 1.1 * peak_bytes(tmp_path / "short", days=2)
