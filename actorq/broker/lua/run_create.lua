-- uses: now namesake
-- A run is told to the server, if there is none of this name.
--
-- KEYS  1 aq:run:<m>   2 aq:runs:<env>
-- ARGV  4 run id   5 seconds until it is dropped   6 its plan
-- Returns {1 if it is new, plan, state, inputs stored, total or ""}; {-1, "map" or "job"} where that has its name.
local other = namesake(ARGV[4], 'run')
if other ~= '' then return {-1, other} end
local new = call('HSETNX', KEYS[1], 'plan', ARGV[6])
if new == 1 then
  -- what one before it of this name has left, which was dropped in mid-run: its results are not those of this one
  for _, kind in ipairs({'map', 'out', 'in', 'sums', 'failed', 'lead', 'output'}) do call('DEL', AQ .. ':' .. kind .. ':' .. ARGV[4]) end
  call('HSET', KEYS[1], 'env', ENV, 'state', 'running', 'count', 0, 'created', string.format('%.3f', t))
  call('EXPIRE', KEYS[1], ARGV[5])
  call('ZADD', KEYS[2], t + ARGV[5], ARGV[4])
  call('SADD', RQ .. ':queues', RQ .. ':queue:' .. ENV)
end
local f = call('HMGET', KEYS[1], 'plan', 'state', 'count', 'total')
return {new, f[1], f[2], f[3], f[4] or ''}
