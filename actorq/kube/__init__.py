"""Kubernetes: pools on demand, and regular tasks as pods.

Imported only by a program that was told to use a cluster (`ACTORQ_KUBERNETES_NAMESPACE`), never by a replica.

    api.py         one request to the API server: retries, and errors that say what to do
    trouble.py     why pods do not run, in words
    pods.py        what a pod of ours looks like
    pool.py        warm replicas: a Deployment, and the keeper that ends it
    scaling.py     which Deployment serves an environment, and how many replicas a person wants
    jobs.py        a batch of inputs: an Indexed Job and its Secret
    regular.py     regular tasks: a fresh pod for every input, as Indexed Jobs
    access.py      a login that fits one map only, for the pods of regular tasks
"""
