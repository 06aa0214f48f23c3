"""Every Redis key, in one place.

RQ's own keys carry the prefix RQ was configured with (`RQ_KEY_PREFIX`, default `rq`): they are what `rq info` and
rq-dashboard read. Keys of ours begin with `aq`. The scripts build the keys of single leases and replicas from the two
prefixes; the table at the head of each script says which.

    key                              type     what                                             lives
    rq:queues                        SET      queue keys, for RQ's tools                       for good
    rq:queue:<env>                   LIST     leases that wait, oldest first                   while any waits
    rq:job:<lease>                   HASH     one lease: RQ's fields and `aq*` fields of ours  until its last result
    rq:wip:<env>                     ZSET     "<lease>:<attempt>" -> when the lease lapses     while any runs
    rq:execution:<lease>:<attempt>   HASH     who runs it since when, for RQ's tools           4 x lease_seconds
    rq:worker:<w>                    HASH     a replica, as RQ registers it                    RQ's TTL
    rq:worker:<w>:executions         SET      what the replica runs, for RQ's tools            4 x lease_seconds
    rq:workers, rq:workers:<env>     SET      worker keys                                      while any lives
    rq:suspended                     STRING   set by `rq suspend`                              until `rq resume`
    rq:failed:<env>                  ZSET     inputs that failed, for RQ's tools               a day
    rq:scheduled:<env>               ZSET     single jobs -> when they are to run              while any waits
    rq:finished:<env>                ZSET     single jobs that have a result -> until when     result_ttl
    rq:canceled:<env>                ZSET     single jobs that were cancelled -> until when    result_ttl
    rq:results:<id>                  STREAM   traceback of a failed input                      a day
    aq:idle:<env>                    ZSET     idle replicas -> when to stop believing it       while any is idle
    aq:mail:<w>                      LIST     what a submitter handed to an idle replica       until it is taken
    aq:turns:<env>                   ZSET     parties of which leases wait -> their share      while any waits
    aq:wait:<m>, aq:wait:<m>:<w>     LIST     leases of a map that wait                        while any waits
    aq:calls:<env>                   LIST     single calls that wait                           while any waits
    aq:wanted                        LIST     environments that tasks of local replicas ask for a minute
    aq:trouble:<env>                 STRING   why a pool that was asked for is not there       a minute
    aq:served:<env>                  HASH     seconds that calls and maps had lately           ten minutes
    aq:lapsed:<lease>:<attempt>      STRING   the map of a lease that was not renewed          an hour
    aq:map:<m>                       HASH     a live map: serial of its newest lease, progress MAP_TTL_SECONDS
    aq:maps:<env>                    ZSET     live maps -> when to stop believing it           a minute
    aq:used:<env>                    STRING   when a map or call last used it, Unix seconds    a day
    aq:ttl:<env>                     STRING   idle seconds after which its pool ends, or inf   a year
    aq:out:<m>                       STREAM   result frames not yet read                       MAP_TTL_SECONDS
    aq:pod:<m>:<job>:<index>         LIST     the input of one pod of a regular task           a day, or its map
    aq:output:<m>                    STREAM   the last lines that its inputs have printed      a day
    aq:code:<sha256>                 STRING   a code bundle                                    a day after its last map
    aq:blob:<lease>                  STRING   a large payload, beside its job                  until its last result
    aq:blob:<lease>:<attempt>:<n>    STRING   a large frame, beside its reference in aq:out    until it is read
    aq:runs:<env>                    ZSET     runs that have not ended -> when they expire     while there is any
    aq:ended:<env>                   ZSET     runs that have ended -> until when they are kept while there is any
    aq:run:<m>                       HASH     a run: its plan, state, and how many inputs      expires; then result_ttl
    aq:in:<m>                        STREAM   its inputs, in chunks, by the index of the first until they have a result
    aq:sums:<m>                      LIST     checksums of its inputs, four bytes each         as aq:run
    aq:failed:<m>                    HASH     its inputs that failed, by their indexes         as aq:run
    aq:lead:<m>                      STRING   who drives it                                    lease_seconds
    aq:wake:<env>                    LIST     a word to the drivers of an environment          a minute

A single job (`task.spawn`) is an rq:job:<id> that stays: until it has run (expires), then for its result_ttl, as does
its result in aq:out:<id>.

Of a run aq:map:<m> and aq:out:<m> live as long as it does, and its stream and large frames until its results go.
"""

from __future__ import annotations

import os

RQ = os.environ.get("RQ_KEY_PREFIX", "rq")
#: with RQ's default prefix ours is plain `aq`; a user who moved RQ's keys gets ours beside them
AQ = "aq" if RQ == "rq" else f"{RQ}:aq"

#: a map that its submitter has not renewed for so long is dropped by the replicas, keys and all. Maps are renewed every
#: second; a lane of single calls, which has no thread, every HEARTBEAT_SECONDS by the calls themselves
MAP_TTL_SECONDS = 15
HEARTBEAT_SECONDS = 4.0
#: a large payload of a lease that nobody claims (submitter and replicas gone) must not stay for ever
LEASE_TTL_SECONDS = 86_400

QUEUES = f"{RQ}:queues"
WORKERS = f"{RQ}:workers"
SUSPENDED = f"{RQ}:suspended"
WANTED = f"{AQ}:wanted"


def worker_ttl(lease_seconds: float) -> int:
    """How long RQ's record of a replica outlives its last heartbeat, seconds; it has one every third of a lease."""
    return max(int(4 * lease_seconds), 10)


def prefix(env: str) -> tuple[str, str, str]:
    """The first arguments of every script."""
    return RQ, AQ, env


def queue(env: str) -> str:
    return f"{RQ}:queue:{env}"


def failed(env: str) -> str:
    return f"{RQ}:failed:{env}"


def scheduled(env: str) -> str:
    return f"{RQ}:scheduled:{env}"


def ended_jobs(env: str) -> tuple[str, ...]:
    """RQ's registries of jobs that have ended."""
    return tuple(f"{RQ}:{name}:{env}" for name in ("finished", "failed", "canceled"))


def job_results(job_id: str) -> str:
    return f"{RQ}:results:{job_id}"


def wip(env: str) -> str:
    return f"{RQ}:wip:{env}"


def job(lease: str) -> str:
    return f"{RQ}:job:{lease}"


def workers(env: str) -> str:
    return f"{RQ}:workers:{env}"


def worker(name: str) -> str:
    return f"{RQ}:worker:{name}"


def mail(worker: str) -> str:
    return f"{AQ}:mail:{worker}"


def map_(map_id: str) -> str:
    return f"{AQ}:map:{map_id}"


def idle(env: str) -> str:
    return f"{AQ}:idle:{env}"


def maps(env: str) -> str:
    return f"{AQ}:maps:{env}"


def used(env: str) -> str:
    return f"{AQ}:used:{env}"


def turns(env: str) -> str:
    return f"{AQ}:turns:{env}"


def wait(map_id: str, worker: str = "") -> str:
    return f"{AQ}:wait:{map_id}:{worker}" if worker else f"{AQ}:wait:{map_id}"


def calls(env: str) -> str:
    return f"{AQ}:calls:{env}"


def trouble(env: str) -> str:
    return f"{AQ}:trouble:{env}"


def ttl(env: str) -> str:
    return f"{AQ}:ttl:{env}"


def out(map_id: str) -> str:
    return f"{AQ}:out:{map_id}"


def output(map_id: str) -> str:
    return f"{AQ}:output:{map_id}"


def runs(env: str) -> str:
    return f"{AQ}:runs:{env}"


def ended(env: str) -> str:
    return f"{AQ}:ended:{env}"


def run(run_id: str) -> str:
    return f"{AQ}:run:{run_id}"


def run_inputs(run_id: str) -> str:
    return f"{AQ}:in:{run_id}"


def run_failed(run_id: str) -> str:
    return f"{AQ}:failed:{run_id}"


def run_sums(run_id: str) -> str:
    return f"{AQ}:sums:{run_id}"


def lead(run_id: str) -> str:
    return f"{AQ}:lead:{run_id}"


def wake(env: str) -> str:
    return f"{AQ}:wake:{env}"


def code(digest: str) -> str:
    return f"{AQ}:code:{digest}"


def pod_inputs(map_id: str) -> str:
    return f"{AQ}:pod:{map_id}"


def blob(name: str) -> str:
    return f"{AQ}:blob:{name}"
