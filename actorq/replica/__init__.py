"""The replica: a supervisor that never runs user code, and executors that run nothing else.

supervisor ── watches pages, signals, RQ commands ── registrar thread ── Redis (registration, renewal, deaths)
    │ socket: fork, exits                                 pages: one page of shared memory per executor
    ▼
zygote ── imported the task's module, one thread, no connection
    │ fork
    ▼
executor 1 … R ── one thread, own connection, all user code ── Redis (leases, results)

There are two more kinds of executors: `forked.py` runs each input in a child, and `concurrent.py` has many
concurrency slots, each a thread with a connection, that share one event loop.
"""
