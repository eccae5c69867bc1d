"""Checks addresses: which of them Beam and TensorFlow can read and write, so that a wrong one is named before a run."""

import re

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


class UriError(ValueError):
    """An address that can't be used; the message says for what, and what was expected."""


def scheme_of(uri: str) -> str:
    """Returns `gs` of `gs://bucket/folder`; an empty text for a path."""
    match = _SCHEME.match(uri)
    return match[1] if match else ""


def check_readable_by_beam(name: str, uri: str) -> None:
    """Checks the address of logs, which Beam reads; `name` is what the message calls it.

    Raises:
      UriError: no file system of Beam has the scheme, or it is a relative path.
    """
    # Takes seconds to import, which a command that only prints its help need not wait for.
    from apache_beam.io.filesystem import FileSystem
    from apache_beam.io.filesystems import FileSystems

    # Loads the file systems that Beam itself brings.
    FileSystems.get_filesystem("/")
    check(name, uri, {scheme for system in FileSystem.get_all_subclasses() if (scheme := system.scheme())})


def check_usable_by_tensorflow(name: str, uri: str) -> None:
    """Checks the address of a model, which TensorFlow reads and TFX copies; `name` is what the message calls it.

    Raises:
      UriError: TensorFlow can't read or write it, or it is a relative path.
    """
    # Takes seconds to import, and much can be said of other parameters before.
    import tensorflow as tf

    check(name, uri, set(tf.io.gfile.get_registered_schemes()) - {"", "ram"})


def check(name: str, uri: str, schemes: set[str]) -> None:
    """Raises UriError unless `uri` is an absolute path or of one of the schemes."""
    scheme = scheme_of(uri)
    if scheme not in schemes if scheme else not uri.startswith("/"):
        expected = ", ".join(f"{scheme}://" for scheme in sorted(schemes))
        raise UriError(f"{name}: expected an absolute path or a URI of {expected}; got {uri!r}")
