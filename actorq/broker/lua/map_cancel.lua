-- uses:
-- Somebody cancels a live map: its program finds it at its next heartbeat.
--
-- KEYS  1 aq:map:<m>
-- Returns 1; 0 where there is none.
if call('EXISTS', KEYS[1]) == 0 then return 0 end
call('HSET', KEYS[1], 'cancelled', 1)
return 1
