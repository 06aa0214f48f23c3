-- uses: leads
-- The driver of a run writes into its journal.
--
-- KEYS  1 aq:map:<m>   2 aq:out:<m>
-- ARGV  4 owner of the driver's leases   5 the last entry of the journal that it has read   6 the index below which no
--       input is needed any more   7 aq:in:<m>   8.. the fields of an entry, if there is one
-- Returns 1; 0 where another driver has taken over, or the journal is another one.
if not leads(KEYS[1], KEYS[2], ARGV[4], ARGV[5]) then return 0 end
local chunk = call('XREVRANGE', ARGV[7], ARGV[6], '-', 'COUNT', 1)[1] -- the one that holds that input
if chunk then call('XTRIM', ARGV[7], 'MINID', chunk[1]) end
if ARGV[8] then call('XADD', KEYS[2], '*', unpack(ARGV, 8)) end
return 1
