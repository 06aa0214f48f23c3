"""What crosses between processes: values, failures, messages and leases, and who may have made them."""
