"""A data set's converter is a module of this package, found by its name.

It has a function `rows(raw, limits)`, which turns the folder of raw files into rows of a manifest, and raises
InputError where they are not as they should be. Limits are applied later, to every data set alike; a converter may use
their seed, or take from them how much it has to draw: then a function `drawings(limits, size, workers)` gives the
path and the content of each image. A function `unpack(raw)` makes the folder's files of what `s2igan fetch` brought.
"""

import importlib
import pkgutil
from types import ModuleType

from s2igan import datasets
from s2igan.errors import InputError


def find_converter(name: str) -> ModuleType:
    """The module `s2igan.datasets.<name>`; InputError, with the names that there are, if it is no converter."""
    found = [module.name for module in pkgutil.iter_modules(datasets.__path__)]
    if name in found:
        module = importlib.import_module(f"s2igan.datasets.{name}")
        if hasattr(module, "rows"):
            return module
    known = [other for other in found if hasattr(importlib.import_module(f"s2igan.datasets.{other}"), "rows")]
    raise InputError(f"catalog.dataset={name}: unknown; choose one of {', '.join(known)}")
