"""Traces of OpenTelemetry. `make test-extras` runs these where its SDK is installed."""
