"""Entry of a process of a pool that is a new interpreter, not a fork: an executor (`start_method="spawn"`), or a zygote
that needed other settings than those its supervisor was started with.
"""

from __future__ import annotations

import json
import os
import socket

from actorq.base.log import configure_later, run_tasks
from actorq.code.importing import Target, import_target
from actorq.isolation import handlers
from actorq.replica.pages import Pages
from actorq.replica.spec import WAKE_SIGNAL, ExecutorSpec, ZygoteSpec
from actorq.replica.start.zygote import Channel, declare, die_with, grow_stack, prepare_process, run_zygote


def _main() -> None:
    handlers.install(WAKE_SIGNAL)
    job = json.loads(os.environ.pop("ACTORQ_SPAWN_JOB"))
    targets = [Target(**target) for target in job["zygote"].pop("targets")]
    spec = ZygoteSpec(targets=targets, **job["zygote"])
    configure_later(*spec.log)
    if "channel" not in job:
        run_tasks(prefix=spec.prefix, capture=spec.capture)
    count, fileno = job["pages"]
    pages = Pages(count, fileno)
    if "channel" in job:
        run_zygote(spec, pages, Channel(socket.socket(fileno=job["channel"])), job["parent"])
    die_with(job["parent"])
    grow_stack()
    prepare_process(spec)
    declare(spec)
    for target in targets:
        import_target(target)
    from actorq.replica.start.executor import main

    index, executor = job["executor"]
    main(ExecutorSpec(**executor), pages, index)


if __name__ == "__main__":
    _main()
