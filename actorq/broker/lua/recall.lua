-- uses: dequeue
-- A submitter takes back leases that have not begun, because it has a better place for them.
-- Safe to send twice: what the first call took is reported as vanished by check.lua, and offered again then.
--
-- ARGV  4.. ids of leases
-- Returns those that were taken back.
local taken = {}
for i = 4, #ARGV do
  local job = RQ .. ':job:' .. ARGV[i]
  local f = call('HMGET', job, 'status', 'aq_map', 'aq_for', 'aq_cost')
  if f[1] == 'queued' and f[2] then
    dequeue(ARGV[i], f[2], f[3], f[4])
    call('DEL', job, AQ .. ':blob:' .. ARGV[i])
    taken[#taken + 1] = ARGV[i]
  end
end
return taken
