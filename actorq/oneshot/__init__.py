"""Regular tasks: a fresh process for every input, on this machine or in a pod."""
