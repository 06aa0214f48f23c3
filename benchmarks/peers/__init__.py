"""actorq beside others that run functions on workers: `make bench-peers`.

Each system has an environment of its own, and is set up as its documentation advises. Nothing here but `ours.py`
imports actorq.
"""
