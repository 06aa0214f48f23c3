-- Offers leases of one map: each goes straight to an idle replica's mailbox, or waits in the queue. Keeps the map alive.
-- Safe to send twice: a lease whose serial the map has already seen is skipped.
--
-- KEYS  1 aq:map:<m>   2 aq:out:<m>   3 rq:queues
-- ARGV  4 map TTL s   5 lease s   6 ISO stamp   7 last read frame id ("" = none)   8 "1": only to idle replicas
--       9 map id      then per lease: serial, id, description, "1" = at the front, payload
-- Returns {replicas, leases accepted}
-- The first write may be refused by a full server (deny-oom), so a refused call has changed nothing.
local map, out = KEYS[1], KEYS[2]
local ttl, lease_s, stamp, last_read, only_idle, map_id = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8] == '1', ARGV[9]
local seen = tonumber(redis.call('HGET', map, 'serial') or '0')
redis.call('HSET', map, 'env', ENV)
redis.call('EXPIRE', map, ttl)
if last_read ~= '' then
  local ms, n = string.match(last_read, '^(%d+)-(%d+)$')
  redis.call('XTRIM', out, 'MINID', ms .. '-' .. string.format('%.0f', tonumber(n) + 1))
  redis.call('EXPIRE', out, ttl)
end
local accepted = 0
local t = now()
for i = 10, #ARGV, 5 do
  local serial, j, description, front, payload = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  if serial > seen then
    local w = take_idle(t)
    if not w and only_idle then break end
    local job = RQ .. ':job:' .. j
    redis.call('HSET', job, 'created_at', stamp, 'enqueued_at', stamp, 'origin', ENV, 'status', 'queued',
      'description', description, 'data', JOB_DATA,
      'timeout', '-1', 'result_ttl', '0', 'failure_ttl', FAILURE_TTL, 'aq_map', map_id, 'aq', payload)
    redis.call('EXPIRE', job, 86400)
    if w then
      local x = claim(j, w, t, lease_s, stamp)
      local mail = AQ .. ':mail:' .. w
      redis.call('RPUSH', mail, j .. '\0' .. x .. '\0' .. payload)
      redis.call('EXPIRE', mail, math.ceil(2 * lease_s))
    elseif front == '1' then
      redis.call('LPUSH', K.queue, j)
    else
      redis.call('RPUSH', K.queue, j)
    end
    redis.call('SADD', KEYS[3], K.queue)
    redis.call('HSET', map, 'serial', serial)
  end
  accepted = accepted + 1
end
return {redis.call('SCARD', K.workers), accepted}
