"""Entry of a local pool: a supervisor that lives as long as the program that started it.

    python -m actorq.replica.supervisor.local_pool SPEC STATUS_FD     (stdin is the lifeline: its end ends everything)

Status lines on STATUS_FD: `ready` with the declared tasks, or `failed` with a traceback.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from actorq.base.log import configure_later
from actorq.base.streams import open_missing
from actorq.code.importing import Target
from actorq.replica.spec import SupervisorSpec, ZygoteSpec
from actorq.replica.start.zygote import start_zygote


def parse_spec(text: str) -> SupervisorSpec:
    data: dict[str, Any] = json.loads(text)
    zygote = data.pop("zygote")
    targets = [Target(**target) for target in zygote.pop("targets")]
    return SupervisorSpec(zygote=ZygoteSpec(targets=targets, **zygote), **data)


def _main() -> int:
    open_missing()
    spec, status = parse_spec(sys.argv[1]), int(sys.argv[2])
    configure_later(*spec.zygote.log)
    lifeline = os.dup(0)
    os.set_inheritable(lifeline, False)
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.close(devnull)
    os.set_inheritable(status, False)

    def say(**message: Any) -> None:
        os.write(status, json.dumps(message).encode() + b"\n")

    zygote = start_zygote(spec, lifeline)
    from actorq.replica.supervisor.supervisor import Supervisor

    supervisor = Supervisor(
        spec,
        zygote,
        lifeline=lifeline,
        on_ready=lambda served: say(ready=served.tasks),
        on_failed=lambda text: say(failed=text),
    )
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(_main())
