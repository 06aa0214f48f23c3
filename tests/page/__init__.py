"""The page as a browser shows it: `make test-page`."""
