-- uses: now split take_away owned
-- A supervisor reports that its executor ended: what that executor held goes back to its submitter at once.
--
-- ARGV  4 worker   5 reason   6 "<lease>:<attempt>" it held, or ""   7 position of the running input, "" unknown, "-" none
-- Returns how many leases it held.
local w, reason, running, pos = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
call('ZREM', IDLE, w)
call('DEL', AQ .. ':mail:' .. w)
local members = owned(w)
for _, member in ipairs(members) do
  local j, x = split(member)
  if member == running then
    take_away(j, x, w, t, 'x', reason, 'p', pos, 'w', w)
  else -- it was handed over and never began
    take_away(j, x, w, t, 'c', '0')
  end
end
call('DEL', RQ .. ':worker:' .. w .. ':executions')
return #members
