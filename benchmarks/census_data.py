"""Census-Income (KDD) as the PLE paper uses it: two tasks, and which rows train, validate and test.

The rows, the dropped columns and the labels are those of the paper: 199,523 rows train; the test file is split 1:1
into validation and test. Whatever is fitted (vocabularies, means, quantiles) is fitted on the train rows alone.
"""

import bz2
import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.arrays import Rows, Splits

COLUMNS = (  # noqa: SIM905
    "age class_worker det_ind_code det_occ_code education wage_per_hour hs_college marital_stat major_ind_code "
    "major_occ_code race hisp_origin sex union_member unemp_reason full_or_part_emp capital_gains capital_losses "
    "stock_dividends tax_filer_stat region_prev_res state_prev_res det_hh_fam_stat det_hh_summ instance_weight "
    "mig_chg_msa mig_chg_reg mig_move_reg mig_same mig_prev_sunbelt num_emp fam_under_18 country_father "
    "country_mother country_self citizenship own_or_self vet_question vet_benefits weeks_worked year income_50k"
).split()
NUMERIC = ("age", "wage_per_hour", "capital_gains", "capital_losses", "stock_dividends", "num_emp", "weeks_worked")
# What the labels are made of, education, and the weight of a row in the population.
DROPPED = ("income_50k", "marital_stat", "education", "instance_weight")
CATEGORICAL = tuple(column for column in COLUMNS if column not in {*DROPPED, *NUMERIC})
TASKS = ("income", "never_married")
# Values rarer than this in the train rows share row 0 of their column.
MIN_FREQUENCY = 5


def load(path: Path, buckets: int = 0) -> Splits:
    """Census-Income from a directory with `census-income.data` and `.test` (plain, .gz or .bz2), or a zip of them.

    Numbers are `<column>_scaled`, their buckets `<column>_buckets`.

    Args:
      buckets: the largest number of quantile buckets in which each number stands beside its scaled value; 0 for none.

    Raises:
      FileNotFoundError: `path`, or one of the two files in it, is missing; the message names it.
    """
    frames = train, test = read(path)
    columns: dict[str, tuple[np.ndarray, ...]] = {}
    sizes: dict[str, int] = {}
    for name in CATEGORICAL:
        columns[name], sizes[name] = _codes(train[name], test[name])
    for name in NUMERIC:
        columns[f"{name}_scaled"] = _scaled(train[name], test[name])
        if buckets:
            columns[f"{name}_buckets"], sizes[f"{name}_buckets"] = _buckets(train[name], test[name], buckets)
    rows = [
        Rows({name: values[i] for name, values in columns.items()}, _labels(frame)) for i, frame in enumerate(frames)
    ]
    half = len(rows[1]) // 2
    return Splits(rows[0], rows[1].part(slice(half)), rows[1].part(slice(half, None)), sizes)


def read(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the train rows, and those of which half validate and half test, as texts; arguments as of `load`."""
    return _read(path, "data"), _read(path, "test")


def write_log(path: Path, log: Path) -> None:
    """Writes all rows as a log of one file: the columns that are read, `row`, `person`, `survey` and the tasks' labels.

    A person stands in one row, and all in one survey; `row` takes the place of the time, so that rows are split as in
    `load`.
    """
    frames = read(path)
    labels = np.concatenate([_labels(frame) for frame in frames])
    rows = pl.concat(frames).select(pl.col(CATEGORICAL), pl.col(NUMERIC).cast(pl.Float64)).with_row_index("row")
    columns = [pl.col("row").alias("person"), pl.lit("1994-1995").alias("survey")]
    tasks = [pl.Series(task, labels[:, i]) for i, task in enumerate(TASKS)]
    rows.with_columns(*columns, *tasks).write_parquet(log)


def _read(path: Path, half: str) -> pl.DataFrame:
    name = f"census-income.{half}"
    if path.is_dir():
        candidates = [file for file in sorted(path.iterdir()) if file.name in (name, f"{name}.gz", f"{name}.bz2")]
        if not candidates:
            raise FileNotFoundError(f"{path}: expected {name}, {name}.gz or {name}.bz2 in this directory")
        file, content = candidates[0].name, candidates[0].read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.namelist() if Path(member).name.startswith(name)]
            if not members:
                raise FileNotFoundError(f"{path}: expected a member {name}, got {archive.namelist()}")
            file, content = members[0], archive.read(members[0])
    else:
        raise FileNotFoundError(f"{path}: expected a directory or a zip file with {name}")
    opened = {".gz": gzip.decompress, ".bz2": bz2.decompress}.get(Path(file).suffix, bytes)(content)
    frame = pl.read_csv(io.BytesIO(opened), has_header=False, new_columns=COLUMNS, infer_schema=False)
    return frame.with_columns(pl.all().str.strip_chars())


def _codes(train: pl.Series, test: pl.Series) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Returns ids by the train rows' vocabulary, 0 for what is rare or unknown in it, and how many ids there are."""
    counts = train.value_counts().filter(pl.col("count") >= MIN_FREQUENCY)
    values = counts[train.name].sort()
    places = {value: number for number, value in enumerate(values, start=1)}
    train_ids, test_ids = (s.replace_strict(places, default=0, return_dtype=pl.Int64).to_numpy() for s in (train, test))
    return (train_ids, test_ids), len(values) + 1


def _buckets(train: pl.Series, test: pl.Series, limit: int) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Returns ids of quantile buckets, and how many ids there are.

    The most frequent value, often zero, is left out of the quantiles: half or more of the rows have it in most of the
    columns, and it would take all buckets.
    """
    values = train.cast(pl.Float64).to_numpy()
    distinct, counts = np.unique(values, return_counts=True)
    frequent = distinct[counts.argmax()]
    rest = np.sort(values[values != frequent])
    quantiles = rest[np.linspace(0, len(rest) - 1, limit).astype(int)] if len(rest) else []
    boundaries = np.unique([*quantiles, frequent])
    ids = tuple(np.searchsorted(boundaries, s.cast(pl.Float64).to_numpy(), side="right") for s in (train, test))
    return (ids[0], ids[1]), len(boundaries) + 1


def _scaled(train: pl.Series, test: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Returns the logarithm of each number, scaled to mean 0 and deviation 1."""
    logs = [np.log1p(series.cast(pl.Float64).to_numpy()) for series in (train, test)]
    mean, deviation = logs[0].mean(), logs[0].std() or 1.0
    train_scaled, test_scaled = (((log - mean) / deviation).astype(np.float32) for log in logs)
    return train_scaled, test_scaled


def _labels(frame: pl.DataFrame) -> np.ndarray:
    income = frame["income_50k"].str.contains("50000+", literal=True)
    return np.stack([income, frame["marital_stat"] == "Never married"], axis=1).astype(np.float32)
