"""Everything that touches Redis: key names, scripts, connections, the embedded server."""
