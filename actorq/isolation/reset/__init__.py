"""`isolation="reset"`: after every input the process is what it was after import."""
