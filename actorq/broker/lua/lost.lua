-- uses: now split take_away give_back owned
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
  else -- it was handed over or claimed, and never began; or it has run, and its results were lost
    give_back(j, x, w, t)
  end
end
call('DEL', RQ .. ':worker:' .. w .. ':executions')
return #members
