"""The code of tasks: what a function uses, and whether two processes have the same.

walk.py         what a function's code names, and what that names in turn
literals.py     which values stand in the source, and are code
fingerprint.py  equal for the same code in two processes
difference.py   tells the submitter what differs
"""
