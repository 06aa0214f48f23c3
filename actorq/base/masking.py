"""What may be shown of text that comes from elsewhere: no password, and nothing that a terminal would obey.

Passwords are found in two ways. Those that this program was given are known, and are hidden wherever they turn up,
whatever stands around them. Others are looked for where addresses have them; in doubt more is hidden than has to be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

_HIDDEN = "***"
#: shorter ones would be found inside ordinary words; where an address has them they are hidden all the same
_LEAST_KNOWN = 6
_NAMES = r"passw|pwd|secret|token|credential|api_?key|signing_?key"
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
# Each repetition is bounded: text from elsewhere must not make the search take quadratic time.
#: user and password: up to the last @ of the word, or of the line: a password may hold blanks. On the line no other
#: address may stand between
_LOGIN = re.compile(
    rf"(\w{{1,30}}://[^:@/\s]{{0,300}}):(?!{re.escape(_HIDDEN)}@)(?:\S{{0,500}}@|(?:(?!\w://)[^\n]){{0,500}}@)"
)
_PARAMETER = re.compile(
    rf"([?&][\w.-]{{0,40}}(?:{_NAMES})[\w.-]{{0,40}}=)(?!{re.escape(_HIDDEN)})[^&\n]*", re.IGNORECASE
)
#: as a dict or a call shows it
_QUOTED = re.compile(
    rf"""((?:{_NAMES})[\w.-]{{0,40}}["']?\s{{0,3}}[=:]\s{{0,3}}b?)(["'])(?:\\.|(?!\2).){{0,500}}\2""",
    re.IGNORECASE | re.DOTALL,
)
#: what moves a cursor, changes colours or the direction of text, or is no character at all
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_CONTROL_IN_LINES = re.compile(_CONTROL.pattern.replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))
#: levels of an event that are looked at, and elements of one: beyond, only how it looks as text
_MOST_LEVELS, _MOST_ELEMENTS = 20, 1000

#: the secrets this program was given, the longest first
_known: tuple[str, ...] = ()


def hide(*secrets: str | None, addresses: Iterable[str | None] = ()) -> None:
    """From now on `masked` knows these: keys, and the passwords of addresses."""
    global _known
    found = {*_known, *filter(None, secrets)}
    for address in filter(None, addresses):
        if "://" in address:
            found.update(_secrets_of(address))
        elif "@" in address or "?" in address:  # else a mistyped one has no place for a secret, and is to be seen
            found.add(address)
    _known = tuple(sorted((text for text in found if len(text) >= _LEAST_KNOWN), key=len, reverse=True))


def _secrets_of(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
        named = [value for name, value in parse_qsl(parts.query) if _SECRET_NAME.search(name)]
    except ValueError:
        return []
    return [*named, *([parts.password, unquote(parts.password)] if parts.password else [])]


def masked(text: str) -> str:
    """`text` without the passwords of addresses in it: for logs and messages."""
    for secret in _known:
        text = text.replace(secret, _HIDDEN)
    if "://" in text:
        text = _LOGIN.sub(rf"\1:{_HIDDEN}@", text)
    return _QUOTED.sub(rf"\1\2{_HIDDEN}\2", _PARAMETER.sub(rf"\1{_HIDDEN}", text))


def printable(text: str, *, lines: bool = False) -> str:
    """`text` with escapes in place of what a terminal would obey; with `lines`, line ends and tabs stay."""
    pattern = _CONTROL_IN_LINES if lines else _CONTROL
    return pattern.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shown(value: Any, *, lines: bool = False, levels: int = _MOST_LEVELS) -> Any:
    """`value` as a log may have it: plain data of the same form, whose texts are masked and printable."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return printable(masked(value), lines=lines)
    if levels and isinstance(value, dict) and len(value) <= _MOST_ELEMENTS:
        return {
            printable(masked(str(key))): (
                _HIDDEN if _SECRET_NAME.search(str(key)) else shown(part, lines=lines, levels=levels - 1)
            )
            for key, part in value.items()
        }
    if levels and isinstance(value, (list, tuple, set, frozenset)) and len(value) <= _MOST_ELEMENTS:
        return [shown(part, lines=lines, levels=levels - 1) for part in value]
    try:
        text = repr(value)
    except Exception as error:
        text = f"(its __repr__ raised {type(error).__name__})"
    return printable(masked(text), lines=lines)
