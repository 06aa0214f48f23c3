"""What a user writes down: environments, tasks, and the options of both. Running them is the engine's."""
