-- uses: now reap open_stream
-- A submitter's heartbeat: keeps its map alive and tells how far it is, reports lapsed leases, and asks which of its
-- leases are gone.
--
-- KEYS  1 aq:map:<m>   2 aq:out:<m>
-- ARGV  4 map TTL s   5 owner   6 map id, "" for a lane of single calls   7 how many fields of progress follow (name and
--       value each: twice as many)   then the ids of the leases it waits for
-- Returns {live replicas, map was alive, ids without an unfinished job...}
local alive = call('EXISTS', KEYS[1])
call('ZREM', WIP, '') -- so that a full server takes it: see renew.lua
if alive == 0 then call('HSET', KEYS[1], 'serial', 0, 'owner', ARGV[5]) end
call('EXPIRE', KEYS[1], ARGV[4])
open_stream(KEYS[2], ARGV[4])
reap(t)
call('SET', AQ .. ':used:' .. ENV, t, 'EX', DAY)
local fields = tonumber(ARGV[7])
if ARGV[6] ~= '' then
  if fields > 0 then call('HSET', KEYS[1], unpack(ARGV, 8, 7 + 2 * fields)) end
  local maps = AQ .. ':maps:' .. ENV
  call('ZREMRANGEBYSCORE', maps, '-inf', t)
  call('ZADD', maps, t + ARGV[4], ARGV[6])
  call('EXPIRE', maps, 60)
end
local workers, live = RQ .. ':workers:' .. ENV, 0
for _, worker in ipairs(call('SMEMBERS', workers)) do
  if call('EXISTS', worker) == 1 then live = live + 1 else call('SREM', workers, worker) end
end
local reply = {live, alive}
for i = 8 + 2 * fields, #ARGV do
  local status = call('HGET', RQ .. ':job:' .. ARGV[i], 'status')
  if status ~= 'queued' and status ~= 'started' then reply[#reply + 1] = ARGV[i] end
end
return reply
