"""One run at a time in a folder: a lock that the system takes back when its process ends, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".run.lock"


class RunningError(RuntimeError):
    """Another run is writing to the folder."""


@contextmanager
def only_run(output: Path) -> Iterator[None]:
    """Holds the lock of a run's folder.

    Raises:
      RunningError: another process holds it.
    """
    with (output / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise RunningError(
                f"--output {output}: another run (process {holder}) is writing to this folder; wait for it, or choose "
                "another folder"
            ) from None
        except OSError:
            # A file system without locks: there is nothing to tell runs apart by.
            yield
            return
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
