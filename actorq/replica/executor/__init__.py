"""What runs inputs: one process, or one concurrency slot of it, takes leases and sends results."""
