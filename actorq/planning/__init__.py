"""What work will take on regular tasks and on actors, before anything is started."""
