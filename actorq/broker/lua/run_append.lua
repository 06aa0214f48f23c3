-- uses:
-- Stores inputs of a run behind those that are there.
-- Safe to send twice: what is there already changes nothing.
--
-- KEYS  1 aq:run:<m>   2 aq:in:<m>   3 aq:sums:<m>   4 aq:out:<m>
-- ARGV  4 index of the first   5 how many   6 the inputs, sealed   7 four bytes of each: a checksum   8 seconds to live
-- Returns how many are stored; -1 for a run that is done, was cancelled, or is gone; -2 where others are stored there. A
-- refused call has changed nothing (deny-oom).
local f = call('HMGET', KEYS[1], 'state', 'count')
if f[1] ~= 'running' and f[1] ~= 'failed' then return -1 end -- what failed early may be opened once more
if f[2] ~= ARGV[4] then -- sent twice, if the last ones are these
  local sent = tonumber(f[2]) == ARGV[4] + ARGV[5] and call('LINDEX', KEYS[3], -1) == ARGV[7]
  return sent and tonumber(f[2]) or -2
end
call('XADD', KEYS[2], tostring(tonumber(ARGV[4]) + 1) .. '-0', 'n', ARGV[5], 'd', ARGV[6])
call('RPUSH', KEYS[3], ARGV[7])
local ttl = f[1] == 'failed' and call('TTL', KEYS[1]) or ARGV[8]
call('EXPIRE', KEYS[2], ttl)
call('EXPIRE', KEYS[3], ttl)
call('XADD', KEYS[4], 'NOMKSTREAM', '*', 'l', '', 'n', '') -- a driver may wait for more
return call('HINCRBY', KEYS[1], 'count', ARGV[5])
