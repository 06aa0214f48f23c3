"""A warning shows the line of the user's program that waits."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path

import pytest

from actorq.base.warned import warn


def test_a_warning_of_the_main_thread_shows_the_line_that_called_us() -> None:
    with pytest.warns(RuntimeWarning, match="told") as caught:
        warn("told")
    assert Path(caught[0].filename) == Path(__file__)


def test_a_warning_while_the_program_does_something_else_shows_no_line() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread = threading.Thread(target=warn, args=("told",))
        thread.start()
        thread.join()
    assert (caught[0].filename, caught[0].lineno) == ("<actorq>", 0)
