"""HTML of pages and of their parts: the templates, and what they are given.

The one idea: everything a template shows is text until the template says otherwise, and none of them does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from actorq import __version__
from actorq.page import words
from actorq.page.access import Session
from actorq.page.pages import PAGES, Page, Site, common
from actorq.page.rows import Query

_TEMPLATES = Path(__file__).parent / "templates"
#: parts that every page has: whether the server answers, and of when the data are
_EVERYWHERE = ("clock", "banner")


@dataclass(frozen=True)
class Asked:
    """What somebody wants to see."""

    name: str
    query: Query
    session: Session | None = None

    @property
    def page(self) -> Page:
        return PAGES[self.name]


class Renderer:
    """Makes HTML. Any thread may ask."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(words.FILTERS, colour=site.collector.history.colour)
        self._templates.globals.update(site=site, version=__version__, prefix=site.prefix)

    def parts(self, asked: Asked) -> dict[str, str]:
        """The parts of a page as it is now. Raises `NothingError`."""
        return self._parts(asked, self._context(asked))

    def page(self, asked: Asked) -> str:
        """The whole of it. Raises `NothingError`."""
        context = self._context(asked)
        parts = self._parts(asked, context)
        said, title = "", asked.page.title or asked.query.id
        if asked.session is not None:
            said, asked.session.said = asked.session.said, ""

        def shown(name: str) -> Markup:
            return Markup('<div id="part-{}">{}</div>').format(name, Markup(parts[name]))  # noqa: S704 - of a template

        template = self._templates.get_template(f"{asked.name}.html")
        return template.render(context, part=shown, title=title, said=said, live=True)

    def plain(self, template: str, session: Session | None = None, **told: Any) -> str:
        """A page without parts."""
        asked = Asked("overview", Query(), session)
        return self._templates.get_template(template).render(self._frame(asked), said="", live=False, **told)

    def _frame(self, asked: Asked) -> dict[str, Any]:
        session = asked.session
        known = session is not None
        may = {"may_act": self._site.actions and known, "csrf": "" if session is None else session.csrf}
        return {"asked": asked, "query": asked.query, "known": known, **may}

    def _context(self, asked: Asked) -> dict[str, Any]:
        look = self._site.collector.look
        own = asked.page.context(self._site, look, asked.query)
        return {**common(self._site, look), **self._frame(asked), **own}

    def _parts(self, asked: Asked, context: Mapping[str, Any]) -> dict[str, str]:
        names = (*_EVERYWHERE, *asked.page.parts)
        return {name: self._templates.get_template(f"parts/{name}.html").render(context) for name in names}
