"""What a package index shows of the README: its links lead to other files of the project, which an index does not have.

A link to a file becomes the path of that file, as the source distribution has it; nothing else changes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

#: a link that names no host
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)#]+)(#[^)]*)?\)")


def for_index(readme: str) -> str:
    """The README as a package index can show it."""
    return _LINK.sub(lambda link: f"{link[1]} (`{link[2]}`)", readme)


class Readme(MetadataHookInterface):
    """Makes the field `readme` of the package's metadata."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = for_index((Path(self.root) / "README.md").read_text(encoding="utf-8"))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
