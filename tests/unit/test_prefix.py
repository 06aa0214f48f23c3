"""A line that a task prints belongs to who began it."""

from __future__ import annotations

import io
import threading
from typing import Any

from actorq.base.prefix import Prefixed, prefix


def test_a_line_begins_with_what_ran() -> None:
    assert prefix({}) == ""
    assert prefix({"replica": "r"}) == "r | "
    assert prefix({"replica": "r", "map": "m"}) == "r m | "
    assert prefix({"replica": "r", "map": "m", "index": 3}) == "r m[3] | "


def test_lines_stay_whole_whoever_writes_between() -> None:
    under, now = io.StringIO(), dict[str, Any]()
    out = Prefixed(under, lambda: now)
    out.write("at import\n")
    now.update(replica="r", map="m", index=0)
    out.write("a")
    now["index"] = 1
    other = threading.Thread(target=lambda: print("b\nc", file=out))
    other.start()
    other.join()
    print("d", file=out)
    now["index"] = 0
    out.write("e\nf")
    assert under.getvalue() == "at import\nr m[1] | b\nr m[1] | c\nr m[1] | d\nr m[0] | ae\n"
    out.flush()
    assert under.getvalue().endswith("r m[0] | f\n")


def test_of_a_line_that_is_written_over_the_last_text_counts() -> None:
    under = io.StringIO()
    out = Prefixed(under, lambda: {"replica": "r"})
    for percent in (10, 50, 100):
        out.write(f"\r{percent} %")
    print(file=out)
    assert under.getvalue() == "r | 100 %\n"


def test_who_closes_it_keeps_nobody_from_writing() -> None:
    under = io.StringIO()
    out = Prefixed(under, lambda: {"replica": "r"})
    out.write("a")
    out.close()
    print("b", file=out)
    assert under.getvalue() == "r | a\nr | b\n"


def test_a_dot_for_each_of_many_items_takes_no_longer_the_more_there_are() -> None:
    under, told = io.StringIO(), list[int]()
    out = Prefixed(under, lambda: {"replica": "r"}, shown=False)
    for _ in range(300_000):
        out.write(".")
    told += [len(begun.text) for begun in out._begun.values()]
    assert told[0] <= 65_536  # what is longer is a line
    assert under.getvalue() == "." * 300_000
