"""What a program has running: servers, pools, connections and maps."""
