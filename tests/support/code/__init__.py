"""Modules of tasks, which replicas import."""
