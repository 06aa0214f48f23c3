"""What everything else stands on: settings, logs, names of modules. Knows nothing of tasks, Redis or replicas."""
