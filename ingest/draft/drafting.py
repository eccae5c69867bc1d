"""Logs -> a drafted spec: which files are the log and the tables, and what they hold."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ingest.draft.clocks import choose_clock
from ingest.draft.compose import Hints, Source, compose, ids_of
from ingest.draft.draft import Draft, DraftError, listed
from ingest.draft.files import FileGroup, groups_in, looked_at, named, relative, sample
from ingest.draft.kinds import Kind, kind_of
from ingest.draft.labels import labels_of
from ingest.draft.patterns import in_day_folder
from ingest.draft.profile import Profile
from ingest.draft.roles import Choice, choose_event, choose_key, is_key_of
from ingest.errors import IngestError
from ingest.sources import matched

LOG_ROWS, _TABLE_ROWS, _FIRST_ROWS = 100_000, 100_000, 2_000


@dataclass(frozen=True)
class Drafted:
    """A draft, whether the logs lie in daily folders, and sentences on what of the folder isn't in it."""

    draft: Draft
    days: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Seen:
    group: FileGroup
    columns: list[Profile]


def draft_spec(
    name: str, logs: str, users: str | None = None, items: str | None = None, hints: Hints | None = None
) -> Drafted:
    """Returns the draft of a spec for the logs in a folder.

    Args:
      users, items: files of the tables, in the folder or elsewhere; without them, tables in the folder are looked for.

    Raises:
      IngestError: there are no logs, they can't be read, or nothing in them tells users, items or feedback.
    """
    hints = hints or Hints()
    groups, problems = groups_in(logs)
    tables = {source: _table_group(source, path, logs) for source, path in (("users", users), ("items", items)) if path}
    rest = _but([path for group in tables.values() for path in group.paths], groups)
    if hints.files:
        log_group = _log_group(hints.files, logs)
        rest = [log_group, *_but(log_group.paths, rest)]
    candidates = _seen(rest, problems)
    if not candidates or (hints.files and candidates[0].group.patterns != (hints.files,)):
        reasons = "\n".join(f"  {problem}" for problem in problems[:5])
        raise DraftError(
            f"--logs {logs}: holds no file of rows that can be read" + (f":\n{reasons}" if reasons else "")
        )
    log = candidates[0] if hints.files else max(candidates, key=lambda candidate: _fitness(candidate, hints))
    group, columns = named(log.group, sample(_nameless(log.group), LOG_ROWS), is_log=True)
    if not columns[0].rows:
        raise DraftError(f"{group.patterns[0]}: has no rows")
    source = Source(group.entries, columns, _unread(group))
    chosen_tables = _tables(
        tables, [candidate for candidate in candidates if candidate is not log], source, ids_of(source, hints)
    )
    used = {path for table in chosen_tables.values() for path in table[0].paths} | set(log.group.paths)
    unused = [
        pattern
        for candidate in candidates
        if not set(candidate.group.paths) & used
        for pattern in candidate.group.patterns
    ]
    notes = [f"not used: {listed(unused)}"] if unused else []
    about = f"{listed(group.patterns, 3)}: {columns[0].rows:,} rows looked at"
    sources = {table: chosen_tables[table][1] if table in chosen_tables else None for table in ("users", "items")}
    draft = compose(name, about, source, sources["users"], sources["items"], hints)
    return Drafted(draft, group.in_days, (*notes, *(f"can't be read: {problem}" for problem in problems)))


def _but(paths: Sequence[str], groups: Sequence[FileGroup]) -> list[FileGroup]:
    """Returns the groups without those that hold one of the files."""
    real = set(map(os.path.realpath, paths))
    return [group for group in groups if not real & set(map(os.path.realpath, group.paths))]


def _seen(groups: Sequence[FileGroup], problems: list[str]) -> list[_Seen]:
    """Returns the groups with the columns of their first rows; what can't be read goes to `problems`."""
    candidates = []
    for group in groups:
        try:
            candidates.append(_Seen(*named(group, sample(group, _FIRST_ROWS), is_log=True)))
        except IngestError as error:
            problems.append(str(error))
    return candidates


def _log_group(pattern: str, logs: str) -> FileGroup:
    """Returns the files that are told to be the log."""
    files = matched(logs, pattern)
    in_days = (
        [] if files else [file for file in matched(logs, f"*/{pattern}") if in_day_folder(relative(file.path, logs))]
    )
    if not files and not in_days:
        raise DraftError(f"--files {pattern}: matches no file in {logs}")
    chosen = files or in_days
    paths = tuple(sorted(file.path for file in chosen))
    return looked_at(FileGroup((pattern,), paths, sum(file.size_in_bytes for file in chosen), in_days=bool(in_days)))


def _tables(
    declared_tables: dict[str, FileGroup], others: list[_Seen], log: Source, ids: tuple[Choice, Choice]
) -> dict[str, tuple[FileGroup, Source]]:
    """Returns the tables of users and items: those that are told, or the best of the other files."""
    tables: dict[str, tuple[FileGroup, Source]] = {}
    for table, choice in zip(("users", "items"), ids, strict=True):
        if table in declared_tables:
            tables[table] = _declared_table(table, declared_tables[table], log.column(choice.column))
            continue
        taken = {path for group, _ in tables.values() for path in group.paths}
        free = [candidate for candidate in others if not taken & set(candidate.group.paths)]
        best = _table_among(free, log.column(choice.column))
        if best:
            tables[table] = best
    return tables


def _nameless(group: FileGroup) -> FileGroup:
    """Returns a group without a header under the names of its columns' places, from which its names are guessed."""
    if "columns" not in group.keys:
        return group
    names = [f"column_{number}" for number in range(1, len(group.header) + 1)]
    return replace(group, keys={**group.keys, "columns": names}, header=dict.fromkeys(names, ""))


def _unread(group: FileGroup) -> dict[str, str]:
    return {column: f"{reason}, which can't be read" for column, reason in group.header.items() if reason}


def _fitness(candidate: _Seen, hints: Hints) -> tuple:
    """Returns how well files would do as the log: with ids, feedback and times, and then by their size."""
    names = {profile.name for profile in candidate.columns}
    hinted = {hints.user, hints.item, hints.time, *hints.labels} & names
    try:
        ids_of(Source({}, candidate.columns), Hints(hints.user, hints.item))
    except DraftError:
        return (len(hinted), False, 0, False, candidate.group.size)
    has_clock = choose_clock(candidate.columns) is not None
    feedback = labels_of(candidate.columns, [label for label in hints.labels if label in names])
    sure = sum(not label.doubt or "at_least" in label.task for label in feedback.labels)
    deeds = max(sure, int(choose_event(candidate.columns, ()) is not None))
    return len(hinted), True, deeds, has_clock, candidate.group.size


def _table_group(source: str, path: str, logs: str) -> FileGroup:
    """Returns the files that an option names: a path, one in the folder of the logs, or a glob there."""
    inside = [file.path for file in matched(logs, path)] if not os.path.isabs(path) else []
    if os.path.isfile(path):
        absolute, folder = os.path.abspath(path), os.path.abspath(logs)
        relative = os.path.relpath(absolute, folder)
        # In the folder of the logs it goes on with the folder; elsewhere it stays where it is.
        pattern = absolute if relative.startswith("..") else relative
        paths: Sequence[str] = [path]
    elif inside:
        pattern, paths = path, inside
    else:
        raise DraftError(f"--{source} {path}: no such file, neither here nor in {logs}")
    group = looked_at(FileGroup((pattern,), tuple(paths), sum(map(os.path.getsize, paths))))
    if not group.header:
        raise DraftError(f"--{source} {path}: has no rows")
    return group


def _declared_table(source: str, group: FileGroup, ids: Profile) -> tuple[FileGroup, Source]:
    columns = sample(group, _TABLE_ROWS)
    key = choose_key(columns, ids)
    if key is None:
        raise DraftError(
            f"--{source} {group.patterns[0]}: no column has one row a value and the values of the log's {ids.name!r}; "
            f"it has {listed(profile.name for profile in columns)}"
        )
    return group, Source(group.entries, columns, _unread(group), key)


def _table_among(others: Sequence[_Seen], ids: Profile) -> tuple[FileGroup, Source] | None:
    """Returns the table of an id among files: the one with the most columns of use, then the largest."""
    best: tuple[tuple[int, int], FileGroup, Source] | None = None
    for candidate in others:
        if not any(is_key_of(profile, ids) for profile in candidate.columns):
            continue
        columns = sample(_nameless(candidate.group), _TABLE_ROWS)
        key = choose_key(columns, ids)
        if key is None:
            continue
        useful = sum(isinstance(kind_of(profile), Kind) for profile in columns if profile.name != key.column)
        rank = (useful, candidate.group.size)
        if useful and (best is None or rank > best[0]):
            best = rank, candidate.group, Source(candidate.group.entries, columns, _unread(candidate.group), key)
    return best[1:] if best else None
