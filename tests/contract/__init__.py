"""What callers may rely on, wherever tasks run: the same tests on `actorq.testing` and on real replicas."""
