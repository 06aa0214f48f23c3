"""What watches executors, and never runs user code."""
