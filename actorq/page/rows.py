"""A part of a long table, as the query of an address asks for it.

The one idea: what a reader has chosen stands in the address, so it can be sent to somebody, and works without scripts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar
from urllib.parse import urlencode

from actorq.base.masking import printable

T = TypeVar("T")

#: rows of a page: what a person reads, and what a browser draws anew each second
ROWS = 100
#: characters of a filter
_LONGEST = 200
_PAGE = re.compile(r"\d{1,6}", re.ASCII)


@dataclass(frozen=True)
class Query:
    """What an address asks for: `?q=words&env=name&state=idle&id=name&page=2`."""

    q: str = ""
    env: str = ""
    state: str = ""
    id: str = ""
    page: int = 1

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Query:
        """Whatever stands there: a page that is no number is the first."""
        page = params.get("page", "1")
        texts = {name: printable(params.get(name, "")[:_LONGEST]) for name in ("q", "env", "state", "id")}
        return cls(**texts, page=max(int(page), 1) if _PAGE.fullmatch(page) else 1)

    def __str__(self) -> str:
        told = {name: getattr(self, name) for name in ("q", "env", "state", "id")}
        told["page"] = "" if self.page == 1 else self.page
        return urlencode({name: value for name, value in told.items() if value})

    def at(self, page: int) -> Query:
        return replace(self, page=page)


@dataclass(frozen=True)
class Part(Generic[T]):
    """Some rows of many."""

    rows: Sequence[T]
    #: how many there are in all, and the numbers of the first and the last one shown
    total: int
    first: int
    last: int
    #: queries of the pages before and after, None where there is none
    before: Query | None = None
    after: Query | None = field(default=None)


def part(rows: Sequence[T], query: Query) -> Part[T]:
    """The page that is asked for, or the last one."""
    pages = max((len(rows) + ROWS - 1) // ROWS, 1)
    page = min(query.page, pages)
    first = (page - 1) * ROWS
    shown = rows[first : first + ROWS]
    return Part(
        rows=shown,
        total=len(rows),
        first=first + 1 if shown else 0,
        last=first + len(shown),
        before=query.at(page - 1) if page > 1 else None,
        after=query.at(page + 1) if page < pages else None,
    )
