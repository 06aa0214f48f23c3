"""The live view on a terminal, with real keys. `make test-watch` runs these where textual is installed."""
