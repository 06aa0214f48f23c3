"""Makes the pictures of the documentation: `make pictures`, six minutes, since a timeline shows five.

A server, eight replicas, four maps and a run work while it waits; then the page is looked at, and what is seen is kept.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image

from actorq import PoolError
from actorq.broker.link import Link
from actorq.runtime.embedded import EmbeddedServer
from tests.page import pictured
from tests.page.browser import browser, missing
from tests.support.served_page import Served, served

FOLDER = Path(__file__).parents[2] / "docs" / "images"
#: how long there is work before the page is looked at, seconds
_SECONDS = 320
#: bytes above which a picture gets fewer colours
_LARGE = 140_000
_PICTURES = {
    "monitor-overview": ("/", False),
    "monitor-map": ("/work?id=wiki-articles", False),
    "monitor-map-dark": ("/work?id=wiki-articles", True),
}


@contextmanager
def workers(url: str) -> Iterator[None]:
    """The replicas, until the end of the block."""
    from tests.conftest import Worker

    started = []
    for name, count in (("embeddings", 6), ("ocr", 2)):
        started.append(Worker(url, f"tests.page.pictured:{name}", replicas=count, environment=name))
    for worker, count in zip(started, (6, 2), strict=True):
        worker.wait_ready(count)
    try:
        yield
    finally:
        for worker in started:
            worker.stop()


def work(task: Callable[..., object], count: int, name: str) -> threading.Thread:
    """A map, in a thread, until somebody cancels it."""

    def run() -> None:
        with suppress(PoolError):
            list(task.map(range(count), map_id=name, return_exceptions=True))  # type: ignore[attr-defined]

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def all_work(seconds: float) -> list[threading.Thread]:
    """Some goes on all the time, some comes and goes."""
    run = pictured.embed.spawn_map(range(150), map_id="reindex-2026-11", return_exceptions=True)
    threads = [work(pictured.embed, 20_000, "wiki-articles"), work(pictured.read, 2000, "invoices-q4")]
    run.wait()
    time.sleep(seconds / 4)
    threads.append(work(pictured.thumbnail, 150, "thumbnails-small"))
    time.sleep(seconds / 4)
    threads.append(work(pictured.thumbnail, 400, "thumbnails-large"))
    time.sleep(seconds / 3)
    return threads


def take(page: Served) -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, (path, dark) in _PICTURES.items():
        with browser(dark=dark) as window:
            window.open(page.url + path)
            window.wait_live()
            window.run("document.querySelectorAll('details.group').forEach(each => { each.open = false; })")
            file = FOLDER / f"{name}.png"
            window.picture(file)
        picture = Image.open(file).convert("RGB")
        picture.save(file, optimize=True)
        if file.stat().st_size > _LARGE:
            picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, optimize=True)
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB", file=sys.stderr)


def main() -> None:
    if problem := missing(axe=False):
        sys.exit(problem)
    server = EmbeddedServer()
    server.wait_ready()
    os.environ["ACTORQ_REDIS_URL"] = server.url
    try:
        with served(server.url) as page, workers(server.url):
            threads = all_work(float(sys.argv[1]) if len(sys.argv) > 1 else _SECONDS)
            take(page)
            end(server.url)
            for thread in threads:
                thread.join()
    finally:
        server.stop()


def end(url: str) -> None:
    """Of all maps that go on."""
    from actorq.broker.scripts.submitting import cancel_map

    link = Link(url, patience=0.0)
    for name in ("wiki-articles", "invoices-q4", "thumbnails-small", "thumbnails-large"):
        cancel_map(link, name)
    link.close()


if __name__ == "__main__":
    main()
