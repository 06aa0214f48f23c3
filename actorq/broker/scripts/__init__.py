"""The server-side scripts, each behind one typed function, which names its keys and arguments and reads its reply.

load.py         reads them from `lua/`
submitting.py   what a submitter says: offers, heartbeats, ends
serving.py      what a replica says: results, renewals, deaths
"""
