"""What one input sees of another that ran before it: one table of probes, run on actorq and on its peers."""
