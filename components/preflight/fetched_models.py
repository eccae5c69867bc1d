"""Finds the model at an address that a run was started with, checks it, and copies it into the run."""

import re

from tfx import types
from tfx.dsl.io import fileio
from tfx.utils import io_utils, path_utils

from components.artifacts import NO_MODEL
from components.uris import check_usable_by_tensorflow
from schema.served import SPEC_FILE
from schema.spec import RankingSpec

_VERSION = re.compile(r"\d+/?")


class FetchError(ValueError):
    """The model at an address can't be used; the message is meant for the person who started the run."""


def find_saved_model(uri: str) -> str | None:
    """Returns the SavedModel at `uri`: itself, a Model artifact's, or the newest of a folder of versions; else None."""
    uri = uri.rstrip("/")
    folders = [uri, path_utils.serving_model_path(uri)]
    if fileio.isdir(uri):
        versions = [name.rstrip("/") for name in fileio.listdir(uri) if _VERSION.fullmatch(name)]
        folders += [f"{uri}/{version}" for version in sorted(versions, key=int, reverse=True)]
    # Of a version that is still being copied, this file is missing.
    return next((folder for folder in folders if fileio.exists(f"{folder}/saved_model.pb")), None)


def fetch(name: str, uri: str, model: types.Artifact) -> None:
    """Copies the model at `uri` into the artifact `model`; an empty `uri` leaves it marked as none.

    Args:
      name: the parameter that `uri` came in.

    Raises:
      UriError: TensorFlow can't read the address.
      FetchError: there is no model, or none that this release of Fulcrum trained.
    """
    if not uri:
        # An object store has no empty folders.
        io_utils.write_string_file(f"{model.uri}/{NO_MODEL}", f"the parameter {name} is empty\n")
        model.set_int_custom_property(NO_MODEL, 1)
        return
    check_usable_by_tensorflow(name, uri)
    saved_model = find_saved_model(uri)
    if saved_model is None:
        raise FetchError(f"{name}: expected a SavedModel or a folder of its versions, found none in {uri!r}")
    spec_file = f"{saved_model}/{SPEC_FILE}"
    if not fileio.exists(spec_file):
        raise FetchError(f"{name}: expected a model with the spec that it was trained by, there is no {spec_file}")
    try:
        RankingSpec.from_json(io_utils.read_string_file(spec_file))
    except ValueError as error:
        raise FetchError(f"{name}: {spec_file}: not a spec of this release: {error}") from None
    io_utils.copy_dir(saved_model, path_utils.serving_model_path(model.uri))
