"""Entry of the process that runs one input of a regular task.

python -m actorq.oneshot.entry SPEC RESULT_FD LEASE PARENT     (the lease's payload on stdin)
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from dataclasses import replace
from functools import partial

from actorq.base.log import configure_later, hear_tasks, run_tasks
from actorq.base.streams import open_missing
from actorq.code import guarded
from actorq.code.difference import compared
from actorq.code.importing import Target, import_target
from actorq.declare.environment import Environment
from actorq.errors import PoolError
from actorq.oneshot import pipe
from actorq.replica import context
from actorq.replica.executor.run import Prepared, Run
from actorq.replica.pages import Pages
from actorq.replica.spec import ZygoteSpec
from actorq.replica.start.zygote import die_with, prepare_process
from actorq.wire import codec, failure
from actorq.wire.messages import Frame, parse_head, split
from actorq.wire.seal import body


def run_input(spec: ZygoteSpec, payload: bytes, replica: str, lease: str) -> Frame:
    """Imports the task and runs the one input of `payload`; what goes wrong is in the frame."""
    run_tasks()
    os.environ.pop("ACTORQ_REPLICA_OF", None)  # nothing is warm here: a call to any environment is a call from outside
    try:
        for target in spec.targets:
            import_target(target)
        hear_tasks(partial(context.describe, replica, lease, 0))
        head, inputs = split(body(payload))
        parsed = parse_head(head)
        tasks = {name: task for env in Environment.of(spec.environment or "") for name, task in env.tasks.items()}
        if parsed.task not in tasks:
            module, _, name = parsed.task.rpartition(".")
            raise PoolError(f"The process cannot find the task {parsed.task!r}.{guarded.hint([module], name)}")
        function = tasks[parsed.task].function
        other = compared(parsed, function)
        prepared = Prepared(function, parsed)
        with prepared.decoding():
            values = codec.unpack_list(inputs)
        run = Run(prepared, values, Pages(1)[0], None)
        run.run(asyncio.new_event_loop)
        return replace(run.take(replica), other_code=other)
    except Exception as error:  # the process boundary: an import that failed is this input's failure
        errors = {0: failure.describe(error) | {"final": True}}
        return Frame(start=0, count=1, busy=0.0, replica=replica, errors=errors, outputs=codec.pack([None]))


def _main() -> None:
    open_missing()
    data, result, lease, parent = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    die_with(parent)
    os.set_inheritable(result, False)
    spec = ZygoteSpec(targets=[Target(**target) for target in data.pop("targets")], **data)
    configure_later(*spec.log)
    prepare_process(spec)
    payload = sys.stdin.buffer.read()
    frame = run_input(spec, payload, f"{socket.gethostname()}-{os.getpid()}", lease)
    pipe.say(result, frame.packed())


if __name__ == "__main__":
    _main()
