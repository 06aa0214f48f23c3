-- uses: now split take_away owned
-- Gives back what a replica claimed ahead, behind a lease that takes its time.
--
-- ARGV  4 worker   5 "<lease>:<attempt>" that runs
-- Returns how many leases were given back: none when that lease has ended, for then the next one has begun; nor when
-- there is no other replica, where it would only lose its turn.
if not call('ZSCORE', WIP, ARGV[5]) or call('SCARD', RQ .. ':workers:' .. ENV) < 2 then return 0 end
local given = 0
for _, member in ipairs(owned(ARGV[4])) do
  if member ~= ARGV[5] then
    local j, x = split(member)
    take_away(j, x, ARGV[4], t, 'c', '0')
    given = given + 1
  end
end
return given
