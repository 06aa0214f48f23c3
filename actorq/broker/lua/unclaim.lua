-- uses: now split replicas give_back
-- Gives back what a replica claimed ahead, behind a lease that takes its time.
--
-- ARGV  4 worker   5 "<lease>:<attempt>" that runs
-- Returns how many leases were given back: none when that lease has ended, for then the next one has begun; nor when
-- there is no other replica, where it would only lose its turn.
local claimed = call('HGET', RQ .. ':job:' .. (split(ARGV[5])), 'aq_ahead')
if not claimed or not call('ZSCORE', WIP, ARGV[5]) or not call('ZSCORE', WIP, claimed) then return 0 end
if replicas() < 2 then return 0 end
local j, x = split(claimed)
give_back(j, x, ARGV[4], t)
return 1
