"""What tests have in common: values, a project, replicas and servers that stand in for real ones."""
