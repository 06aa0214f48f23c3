"""What can be seen of running work: probes and metrics of a worker, and what the server knows of all of them."""
