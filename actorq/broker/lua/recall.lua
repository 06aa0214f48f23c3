-- uses:
-- A submitter takes back leases that have not begun, because it has a better place for them.
-- Safe to send twice: what the first call took is reported as vanished by check.lua, and offered again then.
--
-- ARGV  4.. ids of leases
-- Returns those that were taken back.
local taken = {}
for i = 4, #ARGV do
  local job = RQ .. ':job:' .. ARGV[i]
  if call('HGET', job, 'status') == 'queued' then
    call('LREM', RQ .. ':queue:' .. ENV, 1, ARGV[i])
    call('DEL', job, AQ .. ':blob:' .. ARGV[i])
    taken[#taken + 1] = ARGV[i]
  end
end
return taken
