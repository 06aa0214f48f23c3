-- uses: now take_idle waiting job_waits namesake
-- A single job: its lease goes to an idle replica, waits in the queue, or for its time. These scripts look after it from
-- then on: nobody else has to.
-- Safe to send twice: one of this name that is there changes nothing.
--
-- KEYS  1 rq:job:<j>   2 rq:suspended
-- ARGV  4 its id   5 what it was made of: a checksum   6 ISO stamp   7 lease s   8 description   9 payload
--       10 payload with a process to itself, or ""   11 when it is to run, Unix seconds; "" now
--       12 seconds it is kept until it has run   13 seconds its result is kept   14 retries   15 crashes that it may have
--       16 backoff   17 timeout s, or ""
-- Returns {the checksum of the one that is there, 1 if it still has its payload}; {"map" or "run", 0} where that has its
-- name.
-- The first write may be refused by a full server (deny-oom), so a refused call has changed nothing.
local j, job, stamp = ARGV[4], KEYS[1], ARGV[6]
local other = namesake(j, 'job')
if other ~= '' then return {other, 0} end
if call('HSETNX', job, 'aq_sum', ARGV[5]) == 0 then return {call('HGET', job, 'aq_sum'), call('HEXISTS', job, 'aq')} end
local due = tonumber(ARGV[11])
if due and due <= t then due = nil end
local w = not due and call('EXISTS', KEYS[2]) == 0 and take_idle(t)
-- in one call, since a thousand of these may come one by one: as `record_queued` and `hand_over` do it
call('HSET', job, 'created_at', stamp, 'enqueued_at', stamp, 'origin', ENV, 'description', ARGV[8], 'data', JOB_DATA,
  'timeout', '-1', 'result_ttl', ARGV[13], 'failure_ttl', ARGV[13], 'status', w and 'started' or 'queued',
  'aq_map', '', 'aq', ARGV[9], 'aq_keep', ARGV[13], 'aq_retries', ARGV[14], 'aq_crashes', ARGV[15],
  'aq_backoff', ARGV[16], 'aq_limit', ARGV[17], 'aq_again', ARGV[14] .. ' ' .. ARGV[15] .. ' ' .. ARGV[12])
if ARGV[10] ~= '' then call('HSET', job, 'aq_alone', ARGV[10]) end
call('EXPIRE', job, math.ceil(ARGV[12] + (due and due - t or 0)))
if w then
  call('HSET', job, 'worker_name', w, 'aq_attempt', 1)
  call('ZADD', WIP, t + ARGV[7], j .. ':1')
  call('RPUSH', AQ .. ':mail:' .. w, j .. '\0001\000\0' .. ARGV[9])
elseif due then
  job_waits(j, due)
else
  call('RPUSH', QUEUE, j)
  if call('RPUSH', CALLS, j) == 1 then call('ZADD', TURNS, -1, '*') end
end
call('SADD', RQ .. ':queues', RQ .. ':queue:' .. ENV)
call('SET', AQ .. ':used:' .. ENV, string.format('%.3f', t), 'EX', DAY)
return {ARGV[5], 1}
