"""The command line. Data goes to stdout, logs and messages to stderr.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the server (or the cluster) cannot be used.
"""
