"""The picture of `actorq watch` in the documentation: a scene that has a bit of everything, drawn by the view itself.

python -m tests.pictures.watch docs/images/watch.svg --keys down,down,down
"""

from __future__ import annotations

import argparse
import asyncio
import math
import re
import time
from pathlib import Path

from actorq.terminal.app import Watch
from actorq.terminal.history import STEP_SECONDS
from tests.pictures.scene import scene

#: where textual's drawing would have a browser fetch its font from
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


class Still(Watch):
    """The view of a scene, which asks no server."""

    def begin(self) -> None:
        now = time.monotonic()
        for step in range(60):
            rate = 190 + 60 * math.sin(step / 5) if step > 9 else 30.0 * step
            self.rates.add(now - (59 - step) * STEP_SECONDS, {"embeddings": rate, "reports": step % 3 / 2})
        self.post_message(self.Found(scene()))


async def drawn(columns: int, lines: int, keys: list[str]) -> str:
    """The picture as SVG, after some keys."""
    app = Still("redis://:***@queue.internal:6379/0")
    async with app.run_test(size=(columns, lines)) as pilot:
        await pilot.pause(0.3)
        await pilot.press(*keys)
        await pilot.pause(0.3)
        return _FONTS.sub("", app.export_screenshot(title="actorq watch"))


def main() -> None:
    """Writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--columns", type=int, default=120)
    parser.add_argument("--lines", type=int, default=30)
    parser.add_argument("--keys", default="", help="Pressed before, between commas.")
    given = parser.parse_args()
    keys = [key for key in given.keys.split(",") if key]
    given.file.write_text(asyncio.run(drawn(given.columns, given.lines, keys)))


if __name__ == "__main__":
    main()
