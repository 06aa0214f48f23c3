-- A replica commits the lease it ran, if any, and gets the next one: the only round trip of a busy replica.
-- Safe to send twice: a commit whose attempt is no longer in rq:wip changes nothing, and a replica that already owns a
-- lease is given that one again instead of a new one.
--
-- ARGV  4 worker   5 lease s   6 ISO stamp   7 "1": take a next lease   8 "<lease>:<attempt>" to commit, or ""
--       9 busy seconds   10 frame   11 inputs that failed, for RQ's registry: count, then per input
--       id, description, zlib+base64 traceback, payload
-- Returns {commit, lease, attempt, payload}: commit is "ok", "lost" (fenced) or ""; lease is "" when there is none,
-- and then the replica is registered as idle and should wait on its mailbox (or is suspended: same).
local w, lease_s, stamp, want, member = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7] == '1', ARGV[8]
local worker, executions = RQ .. ':worker:' .. w, RQ .. ':worker:' .. w .. ':executions'
local t = now()
local committed = ''

-- A failed input becomes an RQ job of its own, so that `rq info` and dashboards show it and `rq requeue` can run it.
local function record_failures()
  local i = 12
  for _ = 1, tonumber(ARGV[11]) do
    local job = RQ .. ':job:' .. ARGV[i]
    redis.call('HSET', job, 'created_at', stamp, 'enqueued_at', stamp, 'started_at', stamp, 'ended_at', stamp,
      'origin', ENV, 'status', 'failed', 'description', ARGV[i + 1], 'worker_name', w, 'timeout', '-1', 'result_ttl', '0',
      'failure_ttl', FAILURE_TTL, 'data', JOB_DATA, 'aq_map', '', 'aq', ARGV[i + 3])
    redis.call('EXPIRE', job, FAILURE_TTL)
    local results = RQ .. ':results:' .. ARGV[i]
    redis.call('XADD', results, '*', 'type', 2, 'worker_name', w, 'exc_string', ARGV[i + 2])
    redis.call('EXPIRE', results, FAILURE_TTL)
    redis.call('ZADD', K.failed, t + FAILURE_TTL, ARGV[i])
    redis.call('EXPIRE', K.failed, FAILURE_TTL)
    i = i + 4
  end
end

if member ~= '' then
  committed = 'lost'
  if redis.call('ZREM', K.wip, member) == 1 then
    committed = 'ok'
    local j, x = split(member)
    local map = redis.call('HGET', RQ .. ':job:' .. j, 'aq_map') or ''
    if emit(map, 'l', j, 'f', ARGV[10]) then record_failures() end
    forget(j, x, w)
    if redis.call('EXISTS', worker) == 1 then
      redis.call('HINCRBY', worker, tonumber(ARGV[11]) > 0 and 'failed_job_count' or 'successful_job_count', 1)
      redis.call('HINCRBYFLOAT', worker, 'total_working_time', ARGV[9])
    end
  end
end

redis.call('DEL', AQ .. ':mail:' .. w)
for _, own in ipairs(redis.call('SMEMBERS', executions)) do
  local j, x = split(own)
  local f = redis.call('HMGET', RQ .. ':job:' .. j, 'aq', 'aq_map')
  if f[1] and redis.call('ZSCORE', K.wip, own) then
    if want then return {committed, j, x, f[1]} end
    redis.call('ZREM', K.wip, own) -- handed over while this replica was leaving: nothing of it has begun
    emit(f[2], 'l', j, 'c', '0')
    forget(j, x, w)
  end
  redis.call('SREM', executions, own)
end

if want and redis.call('EXISTS', K.suspended) == 0 then
  while true do
    local j = redis.call('LPOP', K.queue)
    if not j then break end
    local f = redis.call('HMGET', RQ .. ':job:' .. j, 'aq', 'aq_map', 'status')
    if not f[1] then
      if f[3] then -- a job that plain RQ put here: it is not ours to run, and must not vanish
        redis.call('HSET', RQ .. ':job:' .. j, 'status', 'failed', 'ended_at', stamp)
        redis.call('ZADD', K.failed, t + FAILURE_TTL, j)
      end
    elseif not alive(f[2]) then
      redis.call('DEL', RQ .. ':job:' .. j, AQ .. ':out:' .. f[2]) -- its submitter is gone
    else
      local x = claim(j, w, t, lease_s, stamp)
      return {committed, j, tostring(x), f[1]}
    end
  end
  redis.call('ZADD', K.idle, t + lease_s, w)
else
  redis.call('ZREM', K.idle, w)
end
if redis.call('EXISTS', worker) == 1 then redis.call('HSET', worker, 'state', 'idle') end
return {committed, '', '', ''}
