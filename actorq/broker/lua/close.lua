-- uses: forget dequeue unsend
-- Ends a map: nothing of it stays. Replicas that run one of its leases are told through RQ's own command channel.
--
-- KEYS  1 aq:map:<m>   2 aq:out:<m>
-- ARGV  4 owner   5 map id   6.. ids of the leases that are not finished
-- Returns how many were running.
if call('HGET', KEYS[1], 'owner') == ARGV[4] then call('DEL', KEYS[1], KEYS[2]) end
call('ZREM', AQ .. ':maps:' .. ENV, ARGV[5])
call('ZREM', TURNS, ARGV[5], ARGV[5] .. ':')
local running = 0
for i = 6, #ARGV do
  local j = ARGV[i]
  local job = RQ .. ':job:' .. j
  local f = call('HMGET', job, 'status', 'worker_name', 'aq_attempt', 'aq_for', 'aq_cost')
  if f[1] == 'started' then
    running = running + 1
    call('ZREM', WIP, j .. ':' .. f[3])
    forget(j, f[3], f[2])
    unsend(f[2])
    call('PUBLISH', RQ .. ':pubsub:' .. f[2], cjson.encode({command = 'stop-job', job_id = j}))
  elseif f[1] then
    dequeue(j, ARGV[5], f[4], f[5])
    call('DEL', job, AQ .. ':blob:' .. j)
  end
end
return running
