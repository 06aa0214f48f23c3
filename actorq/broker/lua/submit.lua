-- uses: now take_idle
-- Offers leases of one map: each goes straight to an idle replica's mailbox, or waits in the queue. Keeps the map alive.
-- Safe to send twice: a lease whose serial the map has already seen is skipped, unless it is said to be new.
--
-- KEYS  1 aq:map:<m>   2 aq:out:<m>   3 rq:queues   4 rq:queue:<env>   5 rq:workers:<env>   6 rq:suspended
-- ARGV  4 map TTL s ("" = not now)   5 lease s   6 ISO stamp   7 drop frames before this id ("" = none)
--       8 "1": only to idle replicas   9 map id   10 owner of the map: who made it, a random word;
--       "" for a lane of single calls, which is its own owner, and sends this lease for the first time
--       then per lease: serial, id, description, where, payload
--       where: "" at the end of the queue, "1" at its front; longer: only for the replica of this name, which the id
--       tells too, by its end: see next.lua
-- Returns {replicas, leases accepted}; {-1, 0} when the map belongs to somebody else. A lane does not look at it.
-- The first write may be refused by a full server (deny-oom), so a refused call has changed nothing.
local map, ttl, lease_s, stamp, only_idle = KEYS[1], ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[8] == '1'
local seen, new, lane = -1, false, ARGV[10] == ''
if lane then
  new = call('HSET', map, 'serial', ARGV[11]) == 1
  if new then call('HSET', map, 'owner', ARGV[9]) end
else
  local f = call('HMGET', map, 'serial', 'owner')
  if f[2] and f[2] ~= ARGV[10] then return {-1, 0} end
  seen, new = tonumber(f[1] or '-1'), not f[1]
  local last = only_idle and 0 or tonumber(ARGV[#ARGV - 4])
  call('HSET', map, 'owner', ARGV[10], 'serial', math.max(seen, last))
end
if ttl ~= '' or new then
  ttl = ttl ~= '' and ttl or MAP_TTL
  call('EXPIRE', map, ttl)
  -- uses: open_stream
  open_stream(KEYS[2], ttl)
  call('SADD', KEYS[3], KEYS[4])
  call('SET', AQ .. ':used:' .. ENV, string.format('%.3f', t), 'EX', DAY)
end
if ARGV[7] ~= '' then call('XTRIM', KEYS[2], 'MINID', ARGV[7]) end
local may_hand_over = call('EXISTS', KEYS[6]) == 0
local accepted, front = 0, {}
local plenty = '' -- as in next.lua: there is one of these for every replica, beside those that are handed over
if #ARGV > 15 and #ARGV[14] < 2 and (#ARGV - 10) / 5 - call('ZCARD', IDLE) >= call('SCARD', KEYS[5]) then
  plenty = '1'
end
for i = 11, #ARGV, 5 do
  local serial, j, payload = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 4]
  if serial > seen then
    local where, w = ARGV[i + 3], false
    if may_hand_over then
      if #where < 2 then
        w = take_idle(t)
      elseif tonumber(call('ZSCORE', IDLE, where) or 0) >= t then
        call('ZREM', IDLE, where)
        w = where
      end
    end
    if not w and only_idle then break end
    local job = RQ .. ':job:' .. j
    if w then
      call('HSET', job, 'created_at', stamp, 'origin', ENV, 'status', 'started', 'worker_name', w,
        'description', ARGV[i + 2], 'data', JOB_DATA, 'aq_attempt', 1, 'aq_map', ARGV[9], 'aq', payload)
      if only_idle then call('HSET', job, 'aq_idle', 1) end -- it must not wait in the queue later, either
      call('ZADD', WIP, t + lease_s, j .. ':1')
      call('RPUSH', AQ .. ':mail:' .. w, j .. '\0001\000' .. plenty .. '\0' .. payload)
    else
      call('HSET', job, 'created_at', stamp, 'enqueued_at', stamp, 'origin', ENV, 'status', 'queued',
        'description', ARGV[i + 2], 'data', JOB_DATA, 'timeout', '-1', 'result_ttl', '0', 'failure_ttl', FAILURE_TTL,
        'aq_map', ARGV[9], 'aq', payload)
      if #where > 1 then call('HSET', job, 'aq_for', where) end
      call('EXPIRE', job, DAY)
      if where == '1' then front[#front + 1] = j else call('RPUSH', KEYS[4], j) end
    end
    if only_idle then call('HSET', map, 'serial', serial) end
  end
  accepted = accepted + 1
end
for i = #front, 1, -1 do call('LPUSH', KEYS[4], front[i]) end -- the first of them is in front
return {lane and 0 or call('SCARD', KEYS[5]), accepted}
