"""`actorq ping`: a real map over the real replicas of an environment, whatever its tasks are.

Every replica knows one task beside those of its environment, which gives back its input. So a chart's test, or a
person, can see that submitter, server and replicas work together without knowing the code they serve.
"""

from __future__ import annotations

from actorq.declare.environment import ActorEnvironment
from actorq.errors import ActorqError, PoolError


def answer(value: int) -> int:
    """What a replica does with a ping."""
    return value


#: its name on the wire, as of any task
PING = f"{__name__}.{answer.__name__}"


def ping(environment: str, inputs: int, timeout: float) -> None:
    """Maps `inputs` numbers over the replicas of `environment`.

    Raises `PoolError` when they do not all come back, in order, within `timeout` seconds.
    """
    task = ActorEnvironment(environment).task(answer)
    try:
        came = list(task.map(range(inputs), timeout=timeout))
    except ActorqError as error:
        raise PoolError(f"{environment}: {error}") from error
    if came != list(range(inputs)):
        raise PoolError(f"{environment}: sent {inputs} inputs, and {came[:10]} came back.")
