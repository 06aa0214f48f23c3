"""`isolation="fork"`: every input runs in a child of its own, forked from a process that holds the caches."""
