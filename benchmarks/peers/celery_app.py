"""What a Celery worker loads. `PEERS_SERVER` names the socket of the server it uses."""

from __future__ import annotations

import os

from celery import Celery

from benchmarks.peers import work

_url = f"redis+socket://{os.environ['PEERS_SERVER']}"
app = Celery("peers", broker=_url, backend=_url)
app.conf.update(worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)
TASKS = {function.__name__: app.task(name=function.__name__)(function) for function in work.ALL}
