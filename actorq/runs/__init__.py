"""Work that outlives its script: runs, which are maps, and single jobs.

The one idea: *a run is its journal*. Who drives it, who reads it and who takes over all fold the same stream of events
with the same ledger, so they agree on every result, and none of them is needed for good.

    plan.py        what a run is to do, as it lies on the server
    inputs.py      its inputs there: stored in chunks, compared, read again
    journal.py     its events, folded
    transport.py   its leases, while this process leads
    driver.py      who leads: takes over, goes on, ends it
    process.py     the driver beside the replicas of a worker
    reader.py      its outputs, from any process
    start.py       how one begins
    handle.py      what a user holds of it
    job.py         single jobs, which need none of this: the server's scripts look after them
"""
