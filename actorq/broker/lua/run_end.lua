-- uses: now dequeue split forget leads unsend
-- Ends a run: its driver, or a person who cancels it. What it gave is kept for a while; what waits or runs is stopped.
--
-- KEYS  1 aq:run:<m>   2 aq:map:<m>   3 aq:lead:<m>   4 aq:out:<m>   5 aq:in:<m>   6 aq:sums:<m>   7 aq:runs:<env>
--       8 aq:failed:<m>   9 aq:ended:<env>
-- ARGV  4 owner of the driver's leases, "" for a person   5 run id   6 state   7 why, packed   8 seconds to keep
--       9 inputs that are done, and 10 of them failed; "": as its driver last said   11 the last entry of the journal
--       that the driver has read
-- Returns 1; 0 where another driver has taken over, or the journal is another one; -1 where the run has ended, or is
-- gone.
if call('HGET', KEYS[1], 'state') ~= 'running' then return -1 end
if ARGV[4] ~= '' and not leads(KEYS[2], KEYS[4], ARGV[4], ARGV[11]) then return 0 end
local prefix = ARGV[5] .. '-'
for _, member in ipairs(call('ZRANGE', WIP, 0, -1)) do
  if string.sub(member, 1, #prefix) == prefix then
    local j, x = split(member)
    local job = RQ .. ':job:' .. j
    local f = call('HMGET', job, 'aq_map', 'worker_name')
    if f[1] == ARGV[5] then
      call('ZREM', WIP, member)
      forget(j, x, f[2] or '')
      unsend(f[2] or '')
      call('PUBLISH', RQ .. ':pubsub:' .. (f[2] or ''), cjson.encode({command = 'stop-job', job_id = j}))
    end
  end
end
for _, j in ipairs(call('LRANGE', AQ .. ':wait:' .. ARGV[5], 0, -1)) do
  dequeue(j, ARGV[5])
  call('DEL', RQ .. ':job:' .. j, AQ .. ':blob:' .. j)
end
call('ZREM', TURNS, ARGV[5], ARGV[5] .. ':')
call('ZREM', AQ .. ':maps:' .. ENV, ARGV[5])
call('ZREM', KEYS[7], ARGV[5])
local said = redis.pcall('HMGET', KEYS[2], 'done', 'failed') -- somebody else may have written to that key
if said.err then said = {} end
call('HSET', KEYS[1], 'done', ARGV[9] ~= '' and ARGV[9] or said[1] or 0, 'failed', ARGV[10] ~= '' and ARGV[10] or said[2] or 0)
call('ZREMRANGEBYSCORE', KEYS[9], '-inf', t)
call('ZADD', KEYS[9], t + ARGV[8], ARGV[5])
if call('TTL', KEYS[9]) < tonumber(ARGV[8]) then call('EXPIRE', KEYS[9], ARGV[8]) end
call('DEL', KEYS[2], KEYS[3])
if ARGV[6] ~= 'failed' then call('DEL', KEYS[5]) end -- else some never ran, and may be wanted: see run_retry.lua
if ARGV[6] == 'cancelled' then call('DEL', KEYS[8]) end
call('HSET', KEYS[1], 'state', ARGV[6], 'why', ARGV[7], 'ended', string.format('%.3f', t))
call('XADD', KEYS[4], '*', 'l', '', 'e', ARGV[6])
for _, key in ipairs({KEYS[1], KEYS[4], KEYS[5], KEYS[6], KEYS[8]}) do call('EXPIRE', key, ARGV[8]) end
return 1
