"""Random generators: processes that were forked from one must not draw the same numbers."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from typing import Any


def generators_of(modules: Iterable[str]) -> list[Any]:
    """The random generators that these modules hold as globals."""
    numpy: Any = sys.modules.get("numpy.random")
    kinds: tuple[type, ...] = (random.Random,)
    if numpy is not None:
        kinds += (numpy.Generator, numpy.RandomState)
    values = (value for name in modules if name in sys.modules for value in list(vars(sys.modules[name]).values()))
    return [value for value in values if issubclass(type(value), kinds)]


def reseed(generators: Iterable[Any]) -> None:
    """Seeds these anew, and numpy's own. `random` itself does this after a fork."""
    numpy: Any = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed()
    for generator in generators:
        if isinstance(generator, random.Random) or not hasattr(generator, "bit_generator"):
            generator.seed()
        else:
            generator.bit_generator.state = type(generator.bit_generator)().state
