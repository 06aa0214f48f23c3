"""Replicas that a program starts for itself on its own machine."""
