-- uses:
-- The replicas whose supervisors are heard of, for a map that says which of them should run what.
--
-- ARGV  4 seconds that RQ's record of a replica must still have to live
-- Returns their names.
local names = {}
for _, worker in ipairs(call('SMEMBERS', RQ .. ':workers:' .. ENV)) do
  if call('TTL', worker) > tonumber(ARGV[4]) then names[#names + 1] = string.sub(worker, #RQ + 9) end
end
return names
