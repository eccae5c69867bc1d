"""Makes rank requests of people in the logs, to drive a server with."""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

import numpy as np
import pyarrow.compute as pc

from ingest.errors import IngestError
from ingest.rank_request import RequestLogs
from ingest.sample import read_sample
from ingest.windows.window import files_to_read
from schema.columns import ITEM_ID, USER_ID
from schema.spec import RankingSpec
from serving.requests import Inputs, rank_request

# Rows of the log from which people and candidates are drawn.
_SAMPLE_ROWS = 200_000


def recorded_requests(
    spec: RankingSpec,
    logs: str,
    candidates: Sequence[int],
    users: int = 50,
    seed: int = 1,
    window: str | None = None,
) -> list[list[Inputs]]:
    """Returns the inputs of rank requests, for each of the numbers of `candidates` as many as there are `users`.

    People and their candidates are drawn from the first rows of the log's files; every request is of the time just
    after the last row.

    Args:
      window: the days to read of logs in daily folders; by default all.

    Raises:
      IngestError: the logs can't be read, or hold no row.
    """
    drawn = _drawn(spec, logs, candidates, users, seed, window)
    all_drawn = {item for pairs in drawn for _, ids in pairs for item in ids}
    chosen = list(dict.fromkeys(user for pairs in drawn for user, _ in pairs))
    read = RequestLogs.read(spec, logs, chosen, all_drawn, window)
    columns = {user: read.user_columns(user) for user in chosen}
    return [
        [rank_request(spec, columns[user], read.candidate_columns(ids, user)) for user, ids in pairs] for pairs in drawn
    ]


def id_requests(
    spec: RankingSpec,
    logs: str,
    candidates: Sequence[int],
    users: int = 50,
    seed: int = 1,
    window: str | None = None,
) -> list[list[Inputs]]:
    """Returns the same requests as `recorded_requests` with nothing in them but the ids, to be completed by a store."""
    drawn = _drawn(spec, logs, candidates, users, seed, window)
    return [
        [
            {USER_ID: np.array(user.encode(), object), ITEM_ID: np.array([item.encode() for item in ids], object)}
            for user, ids in pairs
        ]
        for pairs in drawn
    ]


def _drawn(
    spec: RankingSpec, logs: str, candidates: Sequence[int], users: int, seed: int, window: str | None
) -> list[list[tuple[str, list[str]]]]:
    """Returns people and their candidates, for each of the numbers of `candidates`."""
    files = [file for file in files_to_read(spec, logs, window) if file.source == "log"]
    sample = read_sample(spec, "log", files, _SAMPLE_ROWS)
    rows = sample.table()
    if sample.problems or rows is None or rows.num_rows == 0:
        raise IngestError("; ".join(sample.problems) or f"{logs}: no row is left of the {sample.rows:,} read")
    random = np.random.default_rng(seed)
    people, items = (np.sort(pc.unique(rows[name]).to_numpy(zero_copy_only=False)) for name in ("user", "item"))
    chosen = random.permutation(people)[:users].tolist()
    return [[(user, random.choice(items, count).tolist()) for user in chosen] for count in candidates]


def is_loopback(address: str) -> bool:
    """Returns whether an address is on this machine by its own text; no name but `localhost` is looked up."""
    host = urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
