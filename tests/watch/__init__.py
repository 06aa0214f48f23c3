"""The live view on a terminal, with real keys. `make test-extras` runs these where textual is installed."""
