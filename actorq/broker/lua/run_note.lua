-- uses:
-- The driver of a run writes into its journal.
--
-- KEYS  1 aq:map:<m>   2 aq:out:<m>
-- ARGV  4 owner of the driver's leases   5 the index below which no input is needed any more   6 aq:in:<m>
--       7.. the fields of an entry, if there is one
-- Returns 1; 0 where another driver has taken over.
if call('HGET', KEYS[1], 'owner') ~= ARGV[4] then return 0 end
local chunk = call('XREVRANGE', ARGV[6], ARGV[5], '-', 'COUNT', 1)[1] -- the one that holds that input
if chunk then call('XTRIM', ARGV[6], 'MINID', chunk[1]) end
if ARGV[7] then call('XADD', KEYS[2], '*', unpack(ARGV, 7)) end
return 1
