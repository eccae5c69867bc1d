"""Which addresses the parts of a pipeline can read and write, so that a wrong one is told before anything runs."""

import re

from apache_beam.io.filesystem import FileSystem
from apache_beam.io.filesystems import FileSystems

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


class UriError(ValueError):
    """An address that can't be used; the message says for what, and what was expected."""


def scheme_of(uri: str) -> str:
    """`gs` of `gs://bucket/folder`; empty for a path."""
    found = _SCHEME.match(uri)
    return found[1] if found else ""


def check_readable_by_beam(name: str, uri: str) -> None:
    """For logs.

    Raises:
      UriError: no file system of Beam has the scheme, or it is a relative path.
    """
    # Loads the file systems that Beam itself brings.
    FileSystems.get_filesystem("/")
    known = {scheme for kind in FileSystem.get_all_subclasses() if (scheme := kind.scheme())}
    check(name, uri, known)


def check_usable_by_tensorflow(name: str, uri: str) -> None:
    """For models, which TensorFlow reads and TFX copies.

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
        expected = ", ".join(f"{known}://" for known in sorted(schemes))
        raise UriError(f"{name}: expected an absolute path or a URI of {expected}; got {uri!r}")
