"""What a Celery worker loads. `LEAKS_SERVER` names the socket of the server it uses."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from benchmarks.leaks import probes

_url = f"redis+socket://{os.environ['LEAKS_SERVER']}"
app = Celery("leaks", broker=_url, backend=_url)
app.conf.update(worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)


@app.task(name="act")  # type: ignore[untyped-decorator]  # celery ships no types
def act(action: str, name: str, folder: str) -> tuple[int, Any]:
    return probes.act(action, name, folder)
