-- uses:
-- The driver of a run writes into its journal.
--
-- KEYS  1 aq:map:<m>   2 aq:out:<m>
-- ARGV  4 owner of the driver's leases   5 the index below which no input is needed any more   6 aq:in:<m>
--       7.. the fields of an entry, if there is one
-- Returns 1; 0 where another driver has taken over.
if call('HGET', KEYS[1], 'owner') ~= ARGV[4] then return 0 end
call('XTRIM', ARGV[6], 'MINID', ARGV[5])
if ARGV[7] then call('XADD', KEYS[2], '*', unpack(ARGV, 7)) end
return 1
