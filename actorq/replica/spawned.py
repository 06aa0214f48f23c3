"""Entry of an executor started as a new interpreter (`start_method="spawn"`)."""

from __future__ import annotations

import json
import os

from actorq.replica.importing import Target, import_target
from actorq.replica.slots import Slots
from actorq.replica.spec import ExecutorSpec, ZygoteSpec
from actorq.replica.zygote import declare, die_with_parent, prepare_process


def _main() -> None:
    job = json.loads(os.environ.pop("ACTORQ_SPAWN_JOB"))
    die_with_parent()
    targets = [Target(**target) for target in job["zygote"].pop("targets")]
    spec = ZygoteSpec(targets=targets, **job["zygote"])
    prepare_process(spec)
    declare(spec)
    for target in targets:
        import_target(target)
    from actorq.replica.executor import main

    count, fileno = job["slots"]
    main(ExecutorSpec(**job["executor"]), Slots(count, fileno)[job["slot"]])


if __name__ == "__main__":
    _main()
