"""What runs inputs: one process, or one lane, takes leases and sends results."""
