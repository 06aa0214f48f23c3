-- A submitter's heartbeat: keeps its map alive, reports lapsed leases, and asks which of its leases are gone.
--
-- KEYS  1 aq:map:<m>   2 aq:out:<m>
-- ARGV  4 map TTL s   then the ids of the leases it waits for
-- Returns {replicas, map was alive, ids without an unfinished job...}
local alive = redis.call('EXISTS', KEYS[1])
redis.call('HSET', KEYS[1], 'env', ENV)
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
reap(now())
local reply = {redis.call('SCARD', K.workers), alive}
for i = 5, #ARGV do
  local status = redis.call('HGET', RQ .. ':job:' .. ARGV[i], 'status')
  if status ~= 'queued' and status ~= 'started' then reply[#reply + 1] = ARGV[i] end
end
return reply
