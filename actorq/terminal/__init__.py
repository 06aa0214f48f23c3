"""The live view of a server on a terminal. What it shows is made without textual, which only its widgets need."""
