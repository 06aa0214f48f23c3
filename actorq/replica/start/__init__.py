"""How the processes of a replica begin: the zygote, what it forks, and the local pool's program."""
