"""A model that a run is told of by its address: found, checked, and copied into the run."""

import re

from tfx import types
from tfx.dsl.io import fileio
from tfx.utils import io_utils, path_utils

from components.preflight.contract import Contract, NoContractError
from components.preflight.uris import check_usable_by_tensorflow
from schema.spec import RankingSpec

# A component's output is one artifact always; this custom property says that the artifact holds no model.
NO_MODEL = "no_model"
_VERSION = re.compile(r"\d+/?")


class GivenModelError(ValueError):
    """A model that was asked for can't be used; the message is meant for the person who started the run."""


def find_saved_model(uri: str) -> str | None:
    """The folder of the SavedModel at `uri`, which may be one, a Model artifact, or a folder of versions; else None."""
    uri = uri.rstrip("/")
    for folder in (uri, path_utils.serving_model_path(uri)):
        if fileio.exists(f"{folder}/saved_model.pb"):
            return folder
    if not fileio.isdir(uri):
        return None
    versions = sorted((name.rstrip("/") for name in fileio.listdir(uri) if _VERSION.fullmatch(name)), key=int)
    # A version without saved_model.pb is still being copied.
    found = (f"{uri}/{version}" for version in reversed(versions))
    return next((folder for folder in found if fileio.exists(f"{folder}/saved_model.pb")), None)


def fetch(name: str, uri: str, model: types.Artifact, comparable: RankingSpec | None = None) -> None:
    """Copies the model at `uri` into the artifact `model`; an empty `uri` leaves it marked as none.

    Args:
      name: the parameter that `uri` came in.
      comparable: a spec whose examples the model must be able to score, and label as it does.

    Raises:
      UriError: TensorFlow can't read the address.
      GivenModelError: there is no model, or one of other columns or tasks.
    """
    if not uri:
        fileio.makedirs(model.uri)
        # An object store has no empty folders.
        io_utils.write_string_file(f"{model.uri}/{NO_MODEL}", f"the parameter {name} is empty\n")
        model.set_int_custom_property(NO_MODEL, 1)
        return
    check_usable_by_tensorflow(name, uri)
    saved_model = find_saved_model(uri)
    if saved_model is None:
        raise GivenModelError(f"{name}: expected a SavedModel or a folder of its versions, found none in {uri!r}")
    try:
        contract = Contract.of_model(saved_model)
        misfit = contract.misfit(Contract.of_spec(comparable)) if comparable else None
    except NoContractError as error:
        misfit = str(error)
    if misfit:
        raise GivenModelError(f"{name}: the model {saved_model!r} doesn't fit this spec: {misfit}")
    io_utils.copy_dir(saved_model, path_utils.serving_model_path(model.uri))
