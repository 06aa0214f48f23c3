-- A supervisor reports that its executor ended: what that executor held goes back to its submitter at once.
--
-- ARGV  4 worker   5 reason   6 "<lease>:<attempt>" it ran, or ""   7 position of the running input, or ""
-- Returns how many leases it held.
local w, reason, running, pos = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
call('ZREM', IDLE, w)
call('DEL', AQ .. ':mail:' .. w)
local executions = RQ .. ':worker:' .. w .. ':executions'
local members = call('SMEMBERS', executions)
for _, member in ipairs(members) do
  local j, x = split(member)
  if call('ZREM', WIP, member) == 1 then
    local map = call('HGET', RQ .. ':job:' .. j, 'aq_map')
    if map then
      if member == running then
        emit(map, 'l', j, 'x', reason, 'p', pos, 'w', w)
      else -- it was handed over and never began
        emit(map, 'l', j, 'c', '0')
      end
    end
  end
  forget(j, x, w)
end
call('DEL', executions)
return #members
