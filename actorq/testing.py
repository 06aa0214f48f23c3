"""Tests of code that uses actorq, without a server and without replicas.

```python
import actorq.testing
from myproject import embed

def test_texts_are_embedded():
    with actorq.testing.inline():
        assert list(embed.map(["a", "b"])) == [[0.1], [0.2]]
```

As a fixture for all tests of a project:

```python
import pytest
import actorq.testing

@pytest.fixture(autouse=True)
def run_tasks_inline():
    with actorq.testing.inline():
        yield
```
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from actorq.declare.engine import replaced

__all__ = ["inline"]


@contextmanager
def inline() -> Iterator[None]:
    """Runs every task in this process, as long as the block lasts: maps, calls and futures, of all environments.

    What a caller sees is what replicas would give it: the order of outputs, which failure is raised where, retries,
    refusals of what cannot be carried, arrays that arrive read-only, an exception's type and notes. Inputs and outputs
    are packed and unpacked as if they travelled, so an output is never the object that the task returned.

    What a task sees is different: inputs run one after the other, in a thread of this process, and nothing is restored
    between two of them, whatever the environment's `isolation` is. `timeout=` of a task is not enforced. What
    `@actor_cache` holds stays for the next test: call `cache_clear()` of the function. Start hooks run when an
    environment is first used, exit hooks at the end of the block.

    Maps that were started before the block go on where they run.

    Example:
        with actorq.testing.inline():
            assert embed.remote("a") == [0.1]
    """
    from actorq.runtime.inline import InlineEngine  # not before it is used: it loads what runs maps

    engine = InlineEngine()
    with replaced(lambda: engine):
        try:
            yield
        finally:
            engine.close()
