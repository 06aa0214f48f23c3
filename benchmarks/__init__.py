"""Measurements of actorq beside the limit of the machine and what the standard library offers. `make bench`."""
