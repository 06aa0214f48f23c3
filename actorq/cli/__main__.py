"""`python -m actorq.cli` is `actorq`."""

from actorq.cli.main import run

run()
