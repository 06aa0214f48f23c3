-- uses:
-- All inputs of a run are stored. Tells its driver.
-- Safe to send twice: the first number stays.
--
-- KEYS  1 aq:run:<m>   2 aq:out:<m>
-- ARGV  4 how many
-- Returns 1; 0 for a run that is gone, or has fewer.
if call('HGET', KEYS[1], 'count') ~= ARGV[4] then return 0 end
if call('HSETNX', KEYS[1], 'total', ARGV[4]) == 1 then call('XADD', KEYS[2], 'NOMKSTREAM', '*', 'l', '', 'n', '') end
return 1
