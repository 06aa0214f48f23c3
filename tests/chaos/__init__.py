"""Faults on a schedule that a seed makes, while maps and calls run: nothing is lost, wrong, out of order or left."""
