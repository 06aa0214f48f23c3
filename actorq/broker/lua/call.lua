-- uses: now take_idle hand_over waiting
-- Offers a single call: its lease goes straight to an idle replica's mailbox, or waits in the queue. Keeps its lane alive,
-- the map that a connection's calls belong to one after the other.
-- Safe to send twice: a call whose serial the lane has already seen is skipped, unless it is said to be new.
--
-- KEYS  1 aq:map:<lane>   2 aq:out:<lane>   3 rq:queue:<env>   4 rq:suspended
-- ARGV  4 TTL of the lane s ("" = not now)   5 lease s   6 ISO stamp   7 drop frames before this id ("" = none)
--       8 "1": only to an idle replica   9 "1": it was not sent before   10 lane   11 serial   12 lease   13 description
--       14 seconds that it will take, by those before it   15 payload
-- Returns 1; 0 when no replica is idle and it may not wait.
-- The first write may be refused by a full server (deny-oom), so a refused call has changed nothing.
local map, ttl, j, only_idle = KEYS[1], ARGV[4], ARGV[12], ARGV[8] == '1'
if ARGV[9] == '' and tonumber(call('HGET', map, 'serial') or '-1') >= tonumber(ARGV[11]) then return 1 end
local new = call('HSET', map, 'serial', ARGV[11]) == 1
if new or ttl ~= '' then
  -- uses: renew_map
  call('HSET', map, 'owner', ARGV[10])
  renew_map(map, KEYS[2], ttl ~= '' and ttl or MAP_TTL, t)
end
if ARGV[7] ~= '' then call('XTRIM', KEYS[2], 'MINID', ARGV[7]) end
local w = call('EXISTS', KEYS[4]) == 0 and take_idle(t)
if w then
  hand_over(j, w, ARGV[6], t, ARGV[5], ARGV[13], ARGV[10], ARGV[15], '')
  if only_idle then call('HSET', RQ .. ':job:' .. j, 'aq_idle', 1) end -- it must not wait in the queue later, either
elseif only_idle then
  return 0
else
  -- uses: record_queued
  record_queued(j, ARGV[6], ARGV[13], ARGV[10], ARGV[15])
  call('HSET', RQ .. ':job:' .. j, 'aq_cost', ARGV[14])
  call('RPUSH', QUEUE, j)
  call('RPUSH', CALLS, j)
  call('ZADD', TURNS, -1, '*')
end
return 1
