"""Warnings to who has started a map.

They are raised in threads of ours, where none of the stack is the user's: Python would show the file and the line that
warns, which says nothing to anybody. The one idea: *who waits has called us*, so the line that is shown is where the
main thread of the program has entered actorq.
"""

from __future__ import annotations

import sys
import threading
import warnings

#: shown in place of a file where no line is the user's; the angle brackets keep Python from looking for its text
_NO_PLACE = ("<actorq>", 0)
_PACKAGE = __name__.partition(".")[0]


def warn(text: str) -> None:
    """A `RuntimeWarning`, shown with the user's line. The callers see to it that each is said once."""
    file, line = _place()
    warnings.warn_explicit(text, RuntimeWarning, file, line, module=_PACKAGE)


def _place() -> tuple[str, int]:
    """File and line of the main thread's call of actorq."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    inside = False
    while frame is not None:
        ours = str(frame.f_globals.get("__name__", "")).partition(".")[0] == _PACKAGE
        if inside and not ours:
            return frame.f_code.co_filename, frame.f_lineno
        inside, frame = inside or ours, frame.f_back
    return _NO_PLACE
