-- uses: now emit forget
-- A replica commits the lease it ran, if any, and gets the next one, or the one after that.
-- Safe to send twice: a commit whose attempt is no longer in rq:wip changes nothing, and a replica that says "again" is
-- given what it holds already, which it may not know of, before anything new.
--
-- KEYS  1 rq:queue:<env>   2 aq:mail:<w>   3 rq:suspended   4 rq:failed:<env>
-- ARGV  4 worker   5 lease s   6 ISO stamp   7 take a next lease: "" no, "1" yes,
--       "+" yes, and BLPOP on the mailbox is sent behind this call: an empty mail answers it
--       "-" no, it goes on with one that it has   "a" the same, and one to run after it, if enough wait for the others
--       8 with "a" and "-": "<lease>:<attempt>" it goes on with; else "1": again, since it may not know all it holds
--       9 lease to commit, or ""   10 its attempt   11 frame
--       12 inputs that failed, for RQ's registry: count, then per input
--          id, description, zlib+base64 traceback, payload
-- Returns {commit, lease, attempt, payload, plenty}: commit is "ok", "lost" (fenced) or ""; lease is "" when there is
-- none, and then the replica, unless it goes on, is registered as idle and should wait on its mailbox (or is suspended:
-- same); plenty is "1" while enough wait for the other replicas.
local w, want, ahead = ARGV[4], ARGV[7] ~= '', ARGV[7] == 'a'
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

local nothing = {committed, '', '', '', ''}
if ARGV[7] == '-' then return nothing end

local function answer(j, x, payload, more)
  if ARGV[7] == '+' then call('RPUSH', KEYS[2], '') end
  return {committed, j, x, payload, more}
end

-- What it was handed while it did not look: by mail, unread, or read by a connection that broke. A replica that has
-- just run a lease on a connection that holds was not idle since.
if ARGV[8] == '1' or not want then
  -- uses: give_back owned
  local found
  call('DEL', KEYS[2])
  call('ZREM', IDLE, w)
  local mine = ARGV[8] == '1' and owned(w) or {}
  for i = #mine, 1, -1 do -- nothing of it has begun; the oldest comes to be first
    local j, x = split(mine[i])
    local payload = call('HGET', RQ .. ':job:' .. j, 'aq')
    if payload and want and i == 1 then
      found = {j, x, payload}
    else
      give_back(j, x, w, t)
    end
  end
  if not want then return nothing end
  if found then return answer(found[1], found[2], found[3], '') end
end

local j
if not ahead then
  j = call('LPOP', KEYS[1])
elseif not call('ZSCORE', WIP, ARGV[8]) then
  return nothing -- it goes on with a lease that was taken away
end
if j or ahead then
  -- uses: alive addressed replicas split
  local queued, workers -- with `ahead`, where the first in the queue is anyone's: leases there, and replicas

  local function enough(queued) -- one waits for every replica: in the queue, or claimed behind the one that it runs
    return queued >= workers or (queued > 0 and queued + call('ZCARD', WIP) >= 2 * workers)
  end

  local function plenty(j) -- there may be more behind one of its own; else enough, of anyone's
    if queued and not addressed(j) then return enough(queued - 1) and '1' or '' end
    local first = call('LINDEX', KEYS[1], 0)
    if not first or addressed(first) then return first and addressed(j) and '1' or '' end
    workers = replicas()
    return enough(call('LLEN', KEYS[1])) and '1' or ''
  end

  local function take_own(or_anyones) -- the first in the queue that is for this replica; a few wait for each
    local tag = '_' .. string.sub(redis.sha1hex(w), 1, 8)
    for _, j in ipairs(call('LRANGE', KEYS[1], 0, -1)) do
      if string.sub(j, -9) == tag or (or_anyones and not addressed(j)) then
        call('LREM', KEYS[1], 1, j)
        return j
      end
    end
  end

  if ahead then
    local first = call('LINDEX', KEYS[1], 0)
    if first and not addressed(first) then
      queued, workers = call('LLEN', KEYS[1]), replicas()
      j = enough(queued) and call('LPOP', KEYS[1])
    end
    j = j or take_own()
  end
  if j and call('EXISTS', KEYS[3]) == 1 then -- suspended: it counts as idle, so that `rq resume` finds it
    call('LPUSH', KEYS[1], j)
    j = false
  end
  while j do
    if not ahead and addressed(j) then
      local f = call('HMGET', RQ .. ':job:' .. j, 'aq_for', 'aq_map')
      if f[1] and f[1] ~= w and alive(f[2]) and call('EXISTS', RQ .. ':worker:' .. f[1]) == 1 then
        call('LPUSH', KEYS[1], j)
        j = take_own(true)
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
      call('ZADD', WIP, t + ARGV[5], j .. ':' .. x)
      if ahead then
        call('HSET', RQ .. ':job:' .. (split(ARGV[8])), 'aq_ahead', j .. ':' .. x)
        call('HSET', job, 'status', 'started', 'started_at', ARGV[6], 'worker_name', w, 'aq_attempt', x,
          'aq_behind', ARGV[8])
      else
        call('HSET', job, 'status', 'started', 'started_at', ARGV[6], 'worker_name', w, 'aq_attempt', x)
      end
      return answer(j, tostring(x), f[1], plenty(j))
    end
    j = not ahead and call('LPOP', KEYS[1])
  end
end
if not ahead then call('ZADD', IDLE, t + ARGV[5], w) end
return nothing
