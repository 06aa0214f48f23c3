"""A program that ends, and maps: what cannot work any more says why."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import run_script

_LATE = """
import atexit, sys, threading, time
from actorq import ActorEnvironment, PoolError
env = ActorEnvironment("late", isolation="none")
@env.task
def double(x): return 2 * x
def late():
    if HOW == "thread":
        threading.main_thread().join()
    for call in (lambda: list(double.map([1])), lambda: [double.remote(1)], lambda: [double.submit(1).result()]):
        try:
            print("result", call())
        except PoolError as error:
            print("PoolError", error)
if __name__ == "__main__":
    if WARM:
        double.remote(0)
    if HOW == "thread":
        threading.Thread(target=late).start()
    else:
        atexit.register(late)
"""


@pytest.mark.parametrize("how", ["thread", "atexit"])
@pytest.mark.parametrize("warm", [False, True])
def test_a_map_in_a_program_that_ends_works_or_says_why(how: str, warm: bool, tmp_path: Path) -> None:
    said = run_script(tmp_path, f"HOW, WARM = {how!r}, {warm}\n{_LATE}").splitlines()
    assert len(said) == 3
    for line in said:
        assert line == "result [2]" or line.startswith("PoolError The program is ending")
    if how == "thread" and warm and sys.version_info < (3, 12):  # later ones start no thread then
        assert said == ["result [2]"] * 3
