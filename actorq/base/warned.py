"""Warnings to who has started a map.

They are raised in threads of ours, where none of the stack is the user's: Python would show the file and the line that
warns, which says nothing to anybody.
"""

from __future__ import annotations

import warnings

#: shown in place of a file; the angle brackets keep Python from looking for its text
_NO_FILE = "<actorq>"


def warn(text: str) -> None:
    """A `RuntimeWarning`, shown with no line of code. The callers see to it that each is said once."""
    warnings.warn_explicit(text, RuntimeWarning, _NO_FILE, 0, module="actorq")
