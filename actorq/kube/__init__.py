"""Kubernetes: pools on demand, and regular tasks as pods.

Imported only by a program that was told to use a cluster (`ACTORQ_KUBERNETES_NAMESPACE`), never by a replica.

    api.py         one request to the API server: retries, and errors that say what to do
    trouble.py     why pods do not run, or have failed, in words
    pods.py        what a pod of ours looks like
    address.py     how pods reach the server, and the secret files that tell them
    deadline.py    how everything ends by itself
    pool.py        warm replicas: a Deployment, and the Job it belongs to
    keeping.py     that Job: the keeper, and the deadline
    lookout.py     what a map looks at while it has no replica
    release.py     replicas of a chart release: looked at, never touched
    scaling.py     which Deployment serves an environment, and how many replicas a person wants
    jobs.py        a batch of inputs: an Indexed Job and its Secret
    batch.py       what the cluster says became of them
    regular.py     regular tasks: a fresh pod for every input, as Indexed Jobs
    access.py      a login that fits one map only, for the pods of regular tasks
"""
