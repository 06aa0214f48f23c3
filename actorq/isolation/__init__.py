"""What a replica restores between two inputs, so that an input cannot see that another ran before it.

`@actor_cache` is kept; all else of the task's own code goes back to what it was after import. The table in
docs/isolation.md says row by row what is restored and what is only reported; `tests/integration/test_leaks.py` has a
test for each.
"""
