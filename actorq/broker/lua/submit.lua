-- uses: now take_idle hand_over record_queued waiting
-- Offers leases of one map: each goes straight to an idle replica's mailbox, or waits in the queue. Keeps the map alive.
-- Safe to send twice: a lease whose serial the map has already seen is skipped.
--
-- KEYS  1 aq:map:<m>   2 aq:out:<m>   3 rq:queue:<env>   4 rq:workers:<env>   5 rq:suspended
-- ARGV  4 map TTL s ("" = not now)   5 lease s   6 ISO stamp   7 drop frames before this id ("" = none); of a run, which
--       keeps them: the last entry of its journal that its driver has read
--       8 "1": only to idle replicas   9 map id   10 owner of the map: who made it, a random word
--       11 seconds of the replicas' time the map had lately, with what runs now
--       then per lease: serial, id, description, where, payload, count
--       where: "" at the end of the queue, "1" at its front; longer: only for the replica of this name, which the id
--       tells too, by its end: see next.lua
--       count: of a run, which keeps its journal, the number of its inputs, with "a" behind it if it runs alone
-- Returns {replicas, leases accepted}; {-1, 0} when the map belongs to somebody else, a run or a job has its name, or the
-- journal is another one.
-- The first write may be refused by a full server (deny-oom), so a refused call has changed nothing.
local map, ttl, lease_s, stamp, only_idle = KEYS[1], ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[8] == '1'
local known = call('HMGET', map, 'serial', 'owner', 'run')
if known[2] and known[2] ~= ARGV[10] then return {-1, 0} end
if (ARGV[17] or '') ~= '' and not known[3] then return {-1, 0} end -- a run whose lead the server has forgotten has no journal
if not known[2] then
  -- uses: namesake
  if namesake(ARGV[9], 'map') ~= '' then return {-1, 0} end
end
if known[3] then
  -- uses: knows
  if not knows(KEYS[2], ARGV[7]) then return {-1, 0} end
end
local seen = tonumber(known[1] or '-1')
local last = only_idle and 0 or tonumber(ARGV[#ARGV - 5])
call('HSET', map, 'owner', ARGV[10], 'serial', math.max(seen, last))
if ttl ~= '' or not known[1] then
  -- uses: renew_map
  renew_map(map, KEYS[2], ttl ~= '' and ttl or MAP_TTL, t)
end
if ARGV[7] ~= '' and not known[3] then call('XTRIM', KEYS[2], 'MINID', ARGV[7]) end
local may_hand_over = call('EXISTS', KEYS[5]) == 0
local accepted, front = 0, {}
local plenty = '' -- as in next.lua: there is one of these for every replica, beside those that are handed over
if #ARGV > 17 and #ARGV[15] < 2 and (#ARGV - 11) / 6 - call('ZCARD', IDLE) >= call('SCARD', KEYS[4]) then
  plenty = '1'
end
local list, queued, addressed = AQ .. ':wait:' .. ARGV[9], false, false
for i = 12, #ARGV, 6 do
  local serial, j, description, where, payload = tonumber(ARGV[i]), unpack(ARGV, i + 1, i + 4)
  if serial > seen then
    local w = false
    if may_hand_over then
      if #where < 2 then
        w = take_idle(t)
      elseif tonumber(call('ZSCORE', IDLE, where) or 0) >= t then
        call('ZREM', IDLE, where)
        w = where
      end
    end
    if not w and only_idle then break end
    if known[3] then call('XADD', KEYS[2], '*', 'l', j, 'o', ARGV[i + 5]) end
    if w then
      hand_over(j, w, stamp, t, lease_s, description, ARGV[9], payload, plenty)
      if only_idle then call('HSET', RQ .. ':job:' .. j, 'aq_idle', 1) end -- it must not wait in the queue later, either
    else
      record_queued(j, stamp, description, ARGV[9], payload)
      if where == '1' then
        front[#front + 1] = j
      else
        call('RPUSH', QUEUE, j)
        if where == '' then
          call('RPUSH', list, j)
          queued = true
        else
          call('HSET', RQ .. ':job:' .. j, 'aq_for', where)
          call('RPUSH', list .. ':' .. where, j)
          addressed = true
        end
      end
    end
    if only_idle then call('HSET', map, 'serial', serial) end
  end
  accepted = accepted + 1
end
for i = #front, 1, -1 do -- the first of them is in front
  call('LPUSH', QUEUE, front[i])
  call('LPUSH', list, front[i])
end
if queued or front[1] then call('ZADD', TURNS, ARGV[11], ARGV[9]) end
if addressed then call('ZADD', TURNS, ARGV[11], ARGV[9] .. ':') end
return {call('SCARD', KEYS[4]), accepted}
