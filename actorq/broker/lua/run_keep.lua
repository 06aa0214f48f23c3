-- uses: leads
-- The driver of a run keeps inputs that have failed, when the others go, and drops those that have succeeded since.
-- Safe to send twice: it sets what is to be there.
--
-- KEYS  1 aq:map:<m>   2 aq:out:<m>   3 aq:failed:<m>   4 aq:run:<m>
-- ARGV  4 owner of the driver's leases   5 the last entry of the journal that it has read   6 how many to keep
--       then of each its index and the input   then the indexes to drop
-- Returns 1; 0 where another driver has taken over, or the journal is another one.
if not leads(KEYS[1], KEYS[2], ARGV[4], ARGV[5]) then return 0 end
local last = 6 + 2 * tonumber(ARGV[6])
for i = 7, last, 2 do call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV do call('HDEL', KEYS[3], ARGV[i]) end
call('EXPIRE', KEYS[3], math.max(call('TTL', KEYS[4]), 1)) -- all keys of a run go together
return 1
