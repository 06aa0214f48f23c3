-- uses: now emit forget
-- A replica commits the lease it ran, if any, and gets the next one: the only round trip of a busy replica.
-- Safe to send twice: a commit whose attempt is no longer in rq:wip changes nothing, and a replica that says "again" is
-- given what it holds already, which it may not know of, before anything new.
--
-- KEYS  1 rq:queue:<env>   2 aq:mail:<w>   3 rq:suspended   4 rq:failed:<env>
-- ARGV  4 worker   5 lease s   6 ISO stamp   7 take a next lease: "" no, "1" yes,
--       "+" yes, and BLPOP on the mailbox is sent behind this call: an empty mail answers it
--       8 "1": again; this or an earlier answer may have been lost   9 lease to commit, or ""   10 its attempt   11 frame
--       12 inputs that failed, for RQ's registry: count, then per input
--          id, description, zlib+base64 traceback, payload
-- Returns {commit, lease, attempt, payload}: commit is "ok", "lost" (fenced) or ""; lease is "" when there is none,
-- and then the replica is registered as idle and should wait on its mailbox (or is suspended: same).
local w, want = ARGV[4], ARGV[7] ~= ''
local committed = ''
if ARGV[9] ~= '' then
  local j, x = ARGV[9], ARGV[10]
  committed = 'lost'
  if call('ZREM', WIP, j .. ':' .. x) == 1 then
    committed = 'ok'
    local map = call('HGET', RQ .. ':job:' .. j, 'aq_map') or ''
    if emit(map, 'l', j, 'f', ARGV[11]) and ARGV[12] ~= '0' then
      -- uses: record_failure
      for i = 13, #ARGV, 4 do
        record_failure(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], w, ARGV[6], t)
      end
    end
    forget(j, x, w)
  end
end

local function answer(j, x, payload)
  if ARGV[7] == '+' then call('RPUSH', KEYS[2], '') end
  return {committed, j, x, payload}
end

-- What it was handed while it did not look: by mail, unread, or read by a connection that broke.
local mail = call('LPOP', KEYS[2])
while mail == '' do mail = call('LPOP', KEYS[2]) end -- nudges
if mail or ARGV[8] == '1' or not want then
  -- uses: take_away owned
  local mine = {}
  if ARGV[8] == '1' then
    mine = owned(w)
  elseif mail then
    local j, x = string.match(mail, '^([^%z]*)%z([^%z]*)%z')
    if j then mine[1] = j .. ':' .. x end -- else it is not one of ours
  end
  if not want or mine[1] then call('ZREM', IDLE, w) end
  for _, own in ipairs(mine) do
    local j, x = split(own)
    local payload = call('HGET', RQ .. ':job:' .. j, 'aq')
    if payload and call('ZSCORE', WIP, own) then
      if want then return answer(j, x, payload) end
      take_away(j, x, w, t, 'c', '0') -- handed over while this replica was leaving: nothing of it has begun
    end
  end
end

if not want then return {committed, '', '', ''} end
if call('EXISTS', KEYS[3]) == 1 then -- it counts as idle, so that `rq resume` finds it; nothing is handed over meanwhile
  call('ZADD', IDLE, t + ARGV[5], w)
  return {committed, '', '', ''}
end
local j = call('LPOP', KEYS[1])
if j then
  -- uses: alive
  while j do
    if string.byte(j, -9) == 95 then -- "_": the oldest lease is for one replica
      local f = call('HMGET', RQ .. ':job:' .. j, 'aq_for', 'aq_map')
      if f[1] and f[1] ~= w and alive(f[2]) and call('EXISTS', RQ .. ':worker:' .. f[1]) == 1 then
        call('LPUSH', KEYS[1], j)
        j = false
        local tag = '_' .. string.sub(redis.sha1hex(w), 1, 8)
        for _, other in ipairs(call('LRANGE', KEYS[1], 0, -1)) do -- a few leases for each replica
          if string.byte(other, -9) ~= 95 or string.sub(other, -9) == tag then
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
      if f[3] then -- a job that plain RQ put here, or a failed input too large to keep: not ours to run, and not to vanish
        call('HSET', job, 'status', 'failed', 'ended_at', ARGV[6])
        call('ZADD', KEYS[4], t + FAILURE_TTL, j)
      end
    elseif not alive(f[2]) then
      call('DEL', job, AQ .. ':out:' .. f[2], AQ .. ':blob:' .. j) -- its submitter is gone
    else
      local x = tonumber(f[4] or '0') + 1
      call('HSET', job, 'status', 'started', 'started_at', ARGV[6], 'worker_name', w, 'aq_attempt', x)
      call('ZADD', WIP, t + ARGV[5], j .. ':' .. x)
      call('ZREM', IDLE, w) -- it may have come here after a wait that found nothing
      return answer(j, tostring(x), f[1])
    end
    j = call('LPOP', KEYS[1])
  end
end
call('ZADD', IDLE, t + ARGV[5], w)
return {committed, '', '', ''}
