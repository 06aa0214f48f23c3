-- uses: open_stream
-- A driver takes the lead of a run, or keeps it. Whoever had it before can write nothing more: its leases have another
-- owner.
--
-- KEYS  1 aq:run:<m>   2 aq:map:<m>   3 aq:lead:<m>   4 aq:out:<m>
-- ARGV  4 owner of the driver's leases   5 seconds that the lead lasts   6 who the driver is, for people and
--       for its supervisor   7 "1": take it; "": only keep it
-- Returns 1; 0 while another one has the lead; -1 where the run has ended, or is gone.
if call('HGET', KEYS[1], 'state') ~= 'running' then return -1 end
local leader = call('GET', KEYS[3])
if leader and leader ~= ARGV[4] then return 0 end
if call('HGET', KEYS[2], 'owner') ~= ARGV[4] then
  if ARGV[7] == '' then return 0 end -- the server has returned in an older state, and knows nothing of this driver
  call('HSET', KEYS[2], 'owner', ARGV[4], 'serial', 0, 'run', 1)
end
call('HSET', KEYS[2], 'driver', ARGV[6])
local ttl = math.max(call('TTL', KEYS[1]), 1) -- all keys of a run go together
call('EXPIRE', KEYS[2], ttl)
open_stream(KEYS[4], ttl)
call('SET', KEYS[3], ARGV[4], 'EX', ARGV[5])
return 1
