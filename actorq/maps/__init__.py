"""The submitter's side of a map: inputs become leases, frames become ordered outputs."""
