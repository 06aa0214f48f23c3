-- uses: now split alive emit forget start record_failure take_away
-- A replica commits the lease it ran, if any, and gets the next one: the only round trip of a busy replica.
-- Safe to send twice: a commit whose attempt is no longer in rq:wip changes nothing, and a replica that already owns a
-- lease is given that one again instead of a new one.
--
-- KEYS  1 rq:queue:<env>   2 rq:worker:<w>   3 rq:worker:<w>:executions   4 aq:mail:<w>   5 rq:suspended
--       6 rq:failed:<env>
-- ARGV  4 worker   5 lease s   6 ISO stamp   7 take a next lease: "" no, "1" yes,
--       "+" yes, and BLPOP on the mailbox is sent behind this call: an empty mail answers it,
--       "-" not now, only commit   8 "<lease>:<attempt>" to commit, or ""
--       9 leases done, 10 leases with failures, 11 busy seconds of this replica so far   12 frame
--       13 inputs that failed, for RQ's registry: count, then per input
--          id, description, zlib+base64 traceback, payload
-- Returns {commit, lease, attempt, payload}: commit is "ok", "lost" (fenced) or ""; lease is "" when there is none,
-- and then the replica is registered as idle and should wait on its mailbox (or is suspended: same).
local w, lease_s, stamp, want, member = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7] ~= '', ARGV[8]
local t = now()

local function record_failures()
  for i = 14, 13 + 4 * tonumber(ARGV[13]), 4 do
    record_failure(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], w, stamp, t)
  end
end

local committed = ''
if member ~= '' then
  committed = 'lost'
  if call('ZREM', WIP, member) == 1 then
    committed = 'ok'
    local j, x = split(member)
    local map = call('HGET', RQ .. ':job:' .. j, 'aq_map') or ''
    if emit(map, 'l', j, 'f', ARGV[12]) then record_failures() end
    forget(j, x, w)
  end
end

if ARGV[7] == '-' then return {committed, '', '', ''} end

local function answer(state, j, x, payload)
  if j ~= '' and ARGV[7] == '+' then call('RPUSH', KEYS[4], '') end
  if call('EXISTS', KEYS[2]) == 1 then
    call('HSET', KEYS[2], 'state', state, 'successful_job_count', ARGV[9], 'failed_job_count', ARGV[10],
      'total_working_time', ARGV[11])
  end
  return {committed, j, x, payload}
end

for _, own in ipairs(call('SMEMBERS', KEYS[3])) do
  local j, x = split(own)
  local payload = call('HGET', RQ .. ':job:' .. j, 'aq')
  call('DEL', KEYS[4]) -- if it was handed over by mail, the mail is this one
  if payload and call('ZSCORE', WIP, own) then
    if want then
      call('ZREM', IDLE, w)
      return answer('busy', j, x, payload)
    end
    take_away(j, x, w, t, 'c', '0') -- handed over while this replica was leaving: nothing of it has begun
  end
  call('SREM', KEYS[3], own)
end

if not want then
  call('ZREM', IDLE, w)
  return answer('idle', '', '', '')
end
if call('EXISTS', KEYS[5]) == 1 then -- it counts as idle, so that `rq resume` finds it; nothing is handed over meanwhile
  call('ZADD', IDLE, t + lease_s, w)
  return answer('suspended', '', '', '')
end
while true do
  local j = call('LPOP', KEYS[1])
  if j and string.byte(j, -9) == 95 then -- "_": the oldest lease is for one replica
    local f = call('HMGET', RQ .. ':job:' .. j, 'aq_for', 'aq_map')
    if f[1] and f[1] ~= w and alive(f[2]) and call('EXISTS', RQ .. ':worker:' .. f[1]) == 1 then
      call('LPUSH', KEYS[1], j)
      j = false
      local mine = '_' .. string.sub(redis.sha1hex(w), 1, 8)
      for _, other in ipairs(call('LRANGE', KEYS[1], 0, -1)) do -- a few leases for each replica
        if string.byte(other, -9) ~= 95 or string.sub(other, -9) == mine then
          call('LREM', KEYS[1], 1, other)
          j = other
          break
        end
      end
    end
  end
  if not j then break end
  local job = RQ .. ':job:' .. j
  local f = call('HMGET', job, 'aq', 'aq_map', 'status', 'aq_attempt')
  if not f[1] or f[1] == '' then
    if f[3] then -- a job that plain RQ put here, or a failed input that was too large to keep: it is not ours to run, and must not vanish
      call('HSET', job, 'status', 'failed', 'ended_at', stamp)
      call('ZADD', KEYS[6], t + FAILURE_TTL, j)
    end
  elseif not alive(f[2]) then
    call('DEL', job, AQ .. ':out:' .. f[2], AQ .. ':blob:' .. j) -- its submitter is gone
  else
    local x = tonumber(f[4] or '0') + 1
    call('HSET', job, 'status', 'started', 'started_at', stamp, 'last_heartbeat', stamp, 'worker_name', w, 'aq_attempt', x)
    start(j, x, w, t, lease_s)
    call('ZREM', IDLE, w) -- it may have come here after a wait that found nothing
    return answer('busy', j, tostring(x), f[1])
  end
end
call('ZADD', IDLE, t + lease_s, w)
return answer('idle', '', '', '')
