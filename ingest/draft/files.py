"""The files of a folder -> groups of files that are written alike, with samples of their columns."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from ingest.draft.draft import DraftError, Entry, listed
from ingest.draft.form import form_of
from ingest.draft.labels import is_rating
from ingest.draft.patterns import grouped, in_day_folder, is_data
from ingest.draft.profile import Profile
from ingest.draft.roles import headerless_names
from ingest.errors import IngestError
from ingest.formats import opened, read_file
from ingest.headers import columns_in
from ingest.sources import matched
from ingest.streams import first_bytes
from ingest.values import MissingWords
from schema.files import SourceFiles

_HEAD = 1 << 20
# Files of a group that are looked at: the first and the last, and some between.
_FILES = 20
_MOST_PATTERNS = 10
_NAMES = "these names are guesses by what the columns hold: put the right ones"


@dataclass(frozen=True)
class FileGroup:
    """Files of the same columns, written alike.

    Attributes:
      patterns: globs relative to the logs that name them; within a day's folder, if they lie in such folders.
      paths: of the files, as they are opened.
      keys: of the spec's section, beside `files`.
      why: of these.
      header: the columns, each with why it can't be read ("" where it can).
    """

    patterns: tuple[str, ...]
    paths: tuple[str, ...]
    size: int
    keys: Mapping[str, Any] = field(default_factory=dict)
    why: tuple[str, ...] = ()
    header: Mapping[str, str] = field(default_factory=dict)
    in_days: bool = False

    @property
    def section(self) -> SourceFiles:
        return SourceFiles(files=self.patterns, **self.keys)

    @property
    def entries(self) -> dict[str, Entry]:
        """Returns the keys of the spec's section."""
        patterns: Any = self.patterns[0] if len(self.patterns) == 1 else list(self.patterns)
        count = f"{len(self.paths):,} files" if len(self.paths) > 1 else ""
        where = "; of each day's folder" if self.in_days else ""
        why = "; ".join(self.why)
        keys = list(self.keys)
        return {
            "files": Entry(patterns, count + where),
            **{
                key: Entry(self.keys[key], "" if index else why, _NAMES if key == "columns" else "")
                for index, key in enumerate(keys)
            },
        }

    @property
    def readable(self) -> list[str]:
        return [column for column, reason in self.header.items() if not reason]


def groups_in(logs: str) -> tuple[list[FileGroup], list[str]]:
    """Returns the files below a folder by what they hold, and a sentence for each that holds no rows that can be read.

    Raises:
      DraftError: the folder holds no file.
    """
    if not os.path.isdir(logs) and "://" not in logs:
        what = "is a file, expected the folder it lies in" if os.path.isfile(logs) else "does not exist"
        raise DraftError(f"--logs {logs}: {what}")
    files = {relative(file.path, logs): file for file in matched(logs, "**") if is_data(file.path)}
    files = {path: file for path, file in files.items() if not _is_hidden(path)}
    if not files:
        raise DraftError(f"--logs {logs}: holds no file of rows; expected CSV, JSON lines, Parquet or Avro")
    groups, problems = [], []
    for pattern, paths in grouped(files).items():
        sizes = sum(files[path].size_in_bytes for path in paths)
        group = FileGroup(
            (pattern,),
            tuple(files[path].path for path in paths),
            sizes,
            in_days=all(map(in_day_folder, paths)),
        )
        try:
            groups.append(looked_at(group))
        except IngestError as error:
            problems.append(str(error))
    return _merged([group for group in groups if group.header]), problems


def relative(path: str, logs: str) -> str:
    """Returns a file's path from the folder of the logs on."""
    return path[len(logs.rstrip("/")) :].lstrip("/")


def _is_hidden(path: str) -> bool:
    return any(step[:1] in ("_", ".") for step in path.split("/"))


def looked_at(group: FileGroup) -> FileGroup:
    """Returns the group with how its files are written and their columns, of its first file that has rows.

    Raises:
      IngestError: the files can't be read, or one archive holds different ones.
    """
    for path in group.paths:
        heads = _heads(path)
        if not any(plain for _, plain in heads):
            continue
        forms = []
        with opened(path, group.section) as raw:
            stored = raw.read(64)
        for name, plain in heads:
            # In an archive, each file's name tells of the file.
            inner = name if name == path else name.removeprefix(f"{path}/")
            forms.append(form_of(inner, stored if name == path else b"", plain) if plain else None)
        usable = [form for form in forms if form]
        if any(form[0] != usable[0][0] for form in usable):
            raise IngestError(f"{path}: holds files of different kinds: {listed(name for name, _ in heads)}; unpack it")
        group = replace(group, keys=usable[0][0], why=tuple(usable[0][1]))
        if group.keys.get("header") is False:
            return _with_names(group, path, heads[0][1])
        return replace(group, header=_same_header(path, group.section))
    return group


def _heads(path: str) -> list[tuple[str, bytes]]:
    with opened(path, SourceFiles(files=("*",))) as raw:
        compression = _true_compression(raw.read(4))
        raw.seek(0)
        section = SourceFiles(files=("*",), compression=compression)
        heads = list(first_bytes(path, raw, section, _HEAD))
    return [(name, plain) for name, plain in heads if name == path or is_data(name)]


def _true_compression(magic: bytes) -> Any:
    if magic.startswith(b"\x1f\x8b"):
        return "gz"
    if magic.startswith(b"BZh"):
        return "bz2"
    return {b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}.get(magic, "none")


def _same_header(path: str, section: SourceFiles) -> dict[str, str]:
    header = columns_in(path, section)
    repeated = [name for name in header if not name.strip()]
    return {name: reason for name, reason in header.items() if name not in repeated}


def _with_names(group: FileGroup, path: str, plain: bytes) -> FileGroup:
    """Returns a group of files without a header with names for its columns, by their places."""
    keys = dict(group.keys)
    separator = keys.get("separator") or ("\t" if path.lower().endswith(".tsv") else ",")
    line = plain.decode(keys.get("encoding") or "utf-8", errors="replace").splitlines()[0]
    names = [f"column_{number}" for number in range(1, line.count(separator) + 2)]
    return replace(group, keys=keys | {"columns": names}, header=dict.fromkeys(names, ""))


def _merged(groups: Sequence[FileGroup]) -> list[FileGroup]:
    """Returns the groups with those put together that have the same header and are written alike."""
    by_form: dict[Any, list[FileGroup]] = {}
    for group in groups:
        # Without a header, files of the same shape may be of something else.
        form = (tuple(group.header), str(sorted(group.keys.items())), group.in_days)
        key = form if "columns" not in group.keys else (form, group.patterns)
        by_form.setdefault(key, []).append(group)
    merged = []
    for alike in by_form.values():
        patterns = tuple(pattern for group in alike for pattern in group.patterns)
        if len(patterns) > _MOST_PATTERNS:
            merged += alike
            continue
        paths = tuple(path for group in alike for path in group.paths)
        merged.append(replace(alike[0], patterns=patterns, paths=paths, size=sum(group.size for group in alike)))
    return merged


def sample(group: FileGroup, rows: int) -> list[Profile]:
    """Returns what about `rows` rows of the group's files hold, as many of each of some of the files.

    Raises:
      IngestError: none of the files can be read.
    """
    columns = group.readable
    chosen = [group.paths[index] for index in _spread(len(group.paths), _FILES)]
    arrays: dict[str, list[pa.Array]] = {column: [] for column in columns}
    problem: IngestError | None = None
    for path in chosen:
        left = max(rows // len(chosen), 1)
        try:
            for batch in read_file(path, dict.fromkeys(columns, "init"), dict.fromkeys(columns, ","), group.section):
                for column in columns:
                    arrays[column].append(batch.columns[column].slice(0, left))
                left -= min(len(batch.rows), left)
                if left <= 0:
                    break
        except IngestError as error:
            problem = problem or error
    if problem and not any(len(array) for batches in arrays.values() for array in batches):
        raise problem
    missing = MissingWords.of(group.section)
    return [Profile.of(column, arrays[column], missing) for column in columns]


def _spread(count: int, most: int) -> list[int]:
    if count <= most:
        return list(range(count))
    return sorted({round(step * (count - 1) / (most - 1)) for step in range(most)})


def named(group: FileGroup, profiles: Sequence[Profile], is_log: bool) -> tuple[FileGroup, list[Profile]]:
    """Returns a group without a header, and its columns, under names for what these hold; another one as it is."""
    if "columns" not in group.keys:
        return group, list(profiles)
    names = headerless_names(profiles, is_log, {profile.name: is_rating(profile) for profile in profiles})
    keys = {**group.keys, "columns": names}
    renamed = [replace(profile, name=name) for profile, name in zip(profiles, names, strict=True)]
    return replace(group, keys=keys, header=dict.fromkeys(names, "")), renamed
