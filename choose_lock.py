"""Prints which lock file `make setup` installs with this interpreter on this machine; it needs no package.

Markers of requirements know nothing of glibc, by which what TFX 1.21 itself wants can be installed or not: ml-metadata
and tensorflow-data-validation 1.21 have wheels for glibc 2.39 and later alone.
"""

import platform
import sys

# Python 3.11 to 3.13 on glibc 2.39 and later (Debian 13, Ubuntu 24.04): all as TFX says.
PLAIN = "requirements.glibc-2.39.lock"
# Python 3.11 elsewhere: older versions of the two, by overrides, and `third_party/tfx_bsl_sql_util`.
OVERRIDDEN = "requirements.lock"


def lock_file(python: tuple[int, int], glibc: tuple[int, ...]) -> str:
    """Returns the lock file for a version of Python and of glibc, the latter empty where there is none.

    Raises:
      ValueError: no lock file is for these.
    """
    if python in ((3, 11), (3, 12), (3, 13)) and glibc >= (2, 39):
        return PLAIN
    if python == (3, 11):
        return OVERRIDDEN
    raise ValueError(
        "expected Python 3.11, or 3.12 or 3.13 on glibc 2.39 or later, "
        f"got {'.'.join(map(str, python))} on glibc {'.'.join(map(str, glibc)) or 'none'}"
    )


def glibc_version() -> tuple[int, ...]:
    """Returns the version of the C library that this interpreter runs on, such as (2, 36); empty for another one."""
    library, version = platform.libc_ver()
    return tuple(map(int, version.split("."))) if library == "glibc" else ()


if __name__ == "__main__":
    try:
        print(lock_file(sys.version_info[:2], glibc_version()))
    except ValueError as error:
        sys.exit(f"choose_lock.py: {error}")
