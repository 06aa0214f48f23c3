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
--       12 inputs that failed, for RQ's registry: count, "-" where some failed that are not for it, "~" where inputs
--          beside them are to blame for all, then per input
--          id, description, zlib+base64 traceback, payload, "1" if its task says that it must not run again
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
    if map == '' and call('HEXISTS', RQ .. ':job:' .. j, 'aq_keep') == 1 then
      -- uses: job_done
      job_done(j, x, w, t, ARGV[6], ARGV[11], ARGV[12] ~= '0' and ARGV or nil)
    else
      if emit(map, 'l', j, 'f', ARGV[11]) and ARGV[12] ~= '0' then
        -- uses: record_failure
        for i = 13, #ARGV, 5 do
          record_failure(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], w, ARGV[6], t)
        end
      end
      forget(j, x, w)
    end
  end
end

local nothing = {committed, '', '', '', ''}
if ARGV[7] == '-' then return nothing end

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
  if found then
    if ARGV[7] == '+' then call('RPUSH', KEYS[2], '') end
    return {committed, found[1], found[2], found[3], ''}
  end
end

-- uses: waiting
-- Parties of which something waits, the one that had the least of the replicas' time first. Two of one map are no
-- contest: what anyone may run, and what is for one replica.
local parties = call('ZRANGE', TURNS, 0, 1)
local party = parties[1]
local contended = parties[2] and parties[2] ~= party .. ':'
if ahead and (contended or not party or not call('ZSCORE', WIP, ARGV[8])) then
  return nothing -- its next turn is not its own; or it goes on with a lease that was taken away
end
if (party or call('EXISTS', QUEUE) == 1) and call('EXISTS', KEYS[3]) == 0 then
  local j, workers, list -- the lease; how many replicas there are, once they were counted; where it waited

  local function enough(count) -- one of so many waits for every replica: in the queue, or claimed behind what runs
    workers = workers or call('SCARD', RQ .. ':workers:' .. ENV)
    return count >= workers or (count > 0 and count + call('ZCARD', WIP) >= 2 * workers)
  end

  -- Nearly always one map is alone, and what anyone may run is next: no function is made for that.
  local simple = party and not contended and party ~= '*' and string.byte(party, -1) ~= 58
  if simple then
    list = AQ .. ':wait:' .. party
    j = (not ahead or enough(call('LLEN', list))) and call('LPOP', list)
    if j then call('LREM', QUEUE, 1, j) end
  end
  local pick -- chooses what is next where that is not so simple
  while true do
    if not j then
      -- uses: chooser
      pick = pick or chooser(w, parties, contended, ahead, enough)
      j, party, list = pick()
      if not j then break end
    end
    local job = RQ .. ':job:' .. j
    local f = call('HMGET', job, 'aq', 'aq_map', 'status', 'aq_attempt')
    if not f[1] or f[1] == '' then
      if f[3] then -- a job that plain RQ put here, or a failed input too large to keep: not ours to run, and not to vanish
        call('HSET', job, 'status', 'failed', 'ended_at', ARGV[6])
        call('ZADD', KEYS[4], t + FAILURE_TTL, j)
      end
    elseif f[2] ~= '' and call('EXISTS', AQ .. ':map:' .. f[2]) == 0 then
      call('DEL', job, AQ .. ':out:' .. f[2], AQ .. ':blob:' .. j) -- its submitter is gone
    elseif f[3] == 'queued' then -- else somebody has changed our lists, and it runs already
      local x = tonumber(f[4] or '0') + 1
      call('ZADD', WIP, t + ARGV[5], j .. ':' .. x)
      if ahead then
        call('HSET', RQ .. ':job:' .. string.match(ARGV[8], '^(.*):'), 'aq_ahead', j .. ':' .. x)
        call('HSET', job, 'status', 'started', 'started_at', ARGV[6], 'worker_name', w, 'aq_attempt', x,
          'aq_behind', ARGV[8])
      else
        call('HSET', job, 'status', 'started', 'started_at', ARGV[6], 'worker_name', w, 'aq_attempt', x)
      end
      local more = '' -- of this map for this replica; or enough, of anyone's
      if contended then
        -- uses: charge
        charge(j, party, f[2], t)
      elseif list then
        local left = call('LLEN', list)
        if enough(left) or (left > 0 and string.byte(party, -1) == 58) then more = '1' end
      end
      if ARGV[7] == '+' then call('RPUSH', KEYS[2], '') end
      return {committed, j, tostring(x), f[1], more}
    end
    j = nil
  end
end
if not ahead then call('ZADD', IDLE, t + ARGV[5], w) end
return nothing
