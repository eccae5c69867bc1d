"""The join of `schema/specs/shortvideo.yaml`, written by hand in polars: the physical yardstick of `benchmarks.ingest`.

Reads the simulated logs, joins users and items, finds for each impression labels, spaces and the three sequences
strictly before it, and writes the columns of an example to disk (Arrow IPC under LZ4, the cheapest that polars has).
"""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

MISSING = "__missing__"
DELAY_MS = 5 * 60 * 1000
BEHAVIOURS = {
    "watched": (pl.col("play_ms") >= 3000, 50),
    "liked": (pl.col("like") == 1, 20),
    "shared": (pl.col("share") == 1, 20),
}


# Keys and granularity, as in `benchmarks.ingest.STATISTICS`.
HOUR_MS, MINUTE_MS, DAY_MS = 3_600_000, 60_000, 86_400_000
STATISTICS = (
    (["video_id"], HOUR_MS),
    (["author_id"], HOUR_MS),
    (["category"], HOUR_MS),
    (["user_id"], MINUTE_MS),
    (["user_id", "category"], MINUTE_MS),
)
SUMS = ("view_through", "completion", "like", "share", "comment")


def join(logs: Path, out: Path, statistics: bool = False) -> int:
    """Writes `out/examples.arrow` and returns the number of examples."""
    log = _read(logs)
    if statistics:
        log = log.with_columns(*[column for keys, grain in STATISTICS for column in _statistics(log, keys, grain)])
    places = log.select("user_id", "timestamp")
    for name, (condition, most) in BEHAVIOURS.items():
        log = log.with_columns(_sequences(log.filter(condition), places, name, most))
    log = log.drop("clicked", "like", "share", "comment", "play_ms", "duration_ms")
    log = log.rename({"video_id": "item_id", "author_id": "author"})
    time = log["timestamp"].sort()
    size = len(time)
    at_eval, at_test = time[size - round(0.2 * size)], time[size - round(0.1 * size)]
    now = pl.col("timestamp")
    split = (
        pl.when(now < at_eval).then(pl.lit("train")).when(now < at_test).then(pl.lit("eval")).otherwise(pl.lit("test"))
    )
    # A column and not a file a split: copying the lists once more would cost as much as making them.
    log.with_columns(split.alias("split")).write_ipc(out / "examples.arrow", compression="lz4")
    return size


def _read(logs: Path) -> pl.DataFrame:
    """Reads the log by user, time and item, with the features of its users and items, labels and spaces."""
    text = {"user_id": pl.String, "video_id": pl.String}
    users = pl.read_csv(logs / "users.csv", schema_overrides={"user_id": pl.String})
    items = pl.read_csv(logs / "items.csv", schema_overrides={"video_id": pl.String})
    log = pl.concat([pl.read_csv(file, schema_overrides=text) for file in sorted(logs.glob("impressions-*.csv.gz"))])
    log = log.join(users, on="user_id", how="left").join(items, on="video_id", how="left")
    log = log.sort("user_id", "timestamp", "video_id")
    seconds = pl.col("timestamp") // 1000
    clicked = pl.col("clicked") == 1
    ratio = (pl.col("play_ms") / pl.col("duration_ms")).clip(0, 1)
    categorical = ("tab", "network", "country", "age_band", "device", "author_id", "category")
    return log.with_columns(
        *[pl.col(name).fill_null(MISSING) for name in categorical],
        (seconds // 3600 % 24).cast(pl.String).alias("hour"),
        ((seconds // 86_400 + 3) % 7).cast(pl.String).alias("weekday"),
        pl.col("tags").str.split("|"),
        pl.col("activity", "duration_s").cast(pl.Float32),
        *_task("view_through", pl.col("play_ms") >= 3000, pl.col("play_ms").is_not_null()),
        *_task("completion", ratio, clicked & (pl.col("duration_ms") > 0)),
        *[column for name in ("like", "share", "comment") for column in _task(name, pl.col(name) == 1, clicked)],
    )


def _task(name: str, value: pl.Expr, space: pl.Expr) -> list[pl.Expr]:
    label = pl.when(space).then(value).otherwise(0)
    return [label.cast(pl.Float32).alias(f"label_{name}"), space.cast(pl.Float32).alias(f"space_{name}")]


def _sequences(did: pl.DataFrame, places: pl.DataFrame, name: str, most: int) -> list[pl.Series]:
    """Returns one behaviour's columns: an as-of join finds where each sequence ends, a gather a column fills them."""
    did = did.with_row_index("at").with_columns(pl.col("at").cast(pl.Int64))
    first = did.group_by("user_id").agg(pl.col("at").min().alias("first"))
    feedback = (
        places.with_columns(pl.col("timestamp") - DELAY_MS)
        .join_asof(
            did.select("user_id", "timestamp", "at"),
            on="timestamp",
            by="user_id",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .join(first, on="user_id", how="left", maintain_order="left")
        .select((pl.col("at") + 1).fill_null(0).alias("stop"), pl.col("first").fill_null(0))
        .with_columns(pl.max_horizontal("first", pl.col("stop") - most).alias("start"))
        .with_columns(pl.max_horizontal("start", "stop").alias("stop"))
    )
    length = (feedback["stop"] - feedback["start"]).to_numpy()
    offsets = np.concatenate(([0], np.cumsum(length)))
    at = pl.Series(np.arange(offsets[-1]) + np.repeat(feedback["start"].to_numpy() - offsets[:-1], length))
    now = pl.Series(np.repeat(places["timestamp"].to_numpy(), length))
    values = did.select("video_id", "author_id", "category", "duration_s", "timestamp")[at]
    flat = {
        "item_id": values["video_id"],
        "author": values["author_id"],
        "category": values["category"],
        "duration_s": values["duration_s"],
        "age_s": ((now - values["timestamp"]) / 1000).cast(pl.Float32),
    }
    newest = pl.CompatLevel.newest()
    columns = []
    for column, series in flat.items():
        # Lists over the gathered values without copying them: nothing in polars itself is as fast.
        array = pa.LargeListArray.from_arrays(pa.array(offsets), series.rechunk().to_arrow(compat_level=newest))
        columns.append(pl.Series(f"{name}_{column}", pl.from_arrow(array)))
    return columns


def _statistics(log: pl.DataFrame, keys: list[str], grain: int) -> list[pl.Series]:
    """Returns the statistic's columns, one a number: sums by tile, decayed forward, and found by an as-of join.

    Forward decay is the fastest there is here; its bits depend on where the log starts, and ours don't.
    """
    name, decay = "_".join(keys), (pl.col("tile") - log["timestamp"].min()) / DAY_MS
    sums = [pl.len().alias("impressions"), (pl.col("clicked") == 1).sum().alias("clicked")]
    sums += [pl.col(f"label_{task}").sum().alias(task) for task in SUMS]
    names = ["impressions", "clicked", *SUMS]
    tiles = log.group_by(*keys, (pl.col("timestamp") // grain * grain).alias("tile")).agg(*sums).sort("tile")
    tiles = tiles.with_columns(
        *[pl.col(counter).cum_sum().over(keys).alias(f"{counter}.lifetime") for counter in names],
        *[(pl.col(counter) * (2.0**decay)).cum_sum().over(keys).alias(f"{counter}.1d") for counter in names],
    ).drop(names)
    queries = log.select(*keys, tile=(pl.col("timestamp") - DELAY_MS) // grain * grain).with_row_index("row")
    joined = queries.sort("tile").join_asof(
        tiles, on="tile", by=keys, allow_exact_matches=False, check_sortedness=False
    )
    joined = joined.sort("row").with_columns(pl.col(f"{counter}.1d") / (2.0**decay) for counter in names)
    columns = [
        pl.col(f"{counter}.{span}").fill_null(0).cast(pl.Float32) for span in ("1d", "lifetime") for counter in names
    ]
    return [column.alias(f"{name}.{column.name}") for column in joined.select(columns).get_columns()]
