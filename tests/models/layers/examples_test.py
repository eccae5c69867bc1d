import doctest
import importlib
import pkgutil

import pytest

import models.layers

MODULES = [module.name for module in pkgutil.walk_packages(models.layers.__path__, "models.layers.")]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name):
    module = importlib.import_module(name)
    module.tf = importlib.import_module("tensorflow")
    assert doctest.testmod(module, raise_on_error=False).failed == 0
