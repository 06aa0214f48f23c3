-- uses: now split alive nudge reap emit waiting
-- A supervisor says what its executors hold and which of them are idle; lapsed leases of anyone are reported as lost.
--
-- ARGV  4 lease s   5 count of held members, then per member "<lease>:<attempt>"   then idle workers
-- Returns the held members that should be stopped: fenced, or of a map that is gone.
-- For leases that reached the queue while replicas were idle (`rq requeue`, `rq resume`), those are nudged; what comes
-- from RQ's tools is given a place among the calls.
local lease_s, held = tonumber(ARGV[4]), tonumber(ARGV[5])
local stop = {}
call('ZREM', WIP, '') -- a full server lets a script write whose first write takes no memory: renewals must go through
for _, key in ipairs({WIP, IDLE, QUEUE, TURNS, CALLS, RQ .. ':workers:' .. ENV}) do call('EXPIRE', key, DAY) end
for i = 6, 5 + held do
  local member = ARGV[i]
  local j = split(member)
  local map = call('HGET', RQ .. ':job:' .. j, 'aq_map')
  if call('ZSCORE', WIP, member) and map then
    call('ZADD', WIP, 'XX', t + lease_s, member)
    if map ~= '' or call('TTL', RQ .. ':job:' .. j) < DAY then call('EXPIRE', RQ .. ':job:' .. j, DAY) end
    if not alive(map) then stop[#stop + 1] = member end
  else
    stop[#stop + 1] = member
    local lapsed = call('GET', AQ .. ':lapsed:' .. member)
    if lapsed then
      emit(lapsed, 'l', j, 'a', '')
      if lapsed == '' and call('HGET', RQ .. ':job:' .. j, 'aq_keep') then -- a single job: as Verdicts.lives
        call('HINCRBY', RQ .. ':job:' .. j, 'aq_crashes', 1)
      end
      call('DEL', AQ .. ':lapsed:' .. member)
    end
  end
end
for i = 6 + held, #ARGV do
  call('ZADD', IDLE, 'XX', t + lease_s, ARGV[i])
end
reap(t)
for _, j in ipairs(call('LRANGE', QUEUE, 0, 31)) do
  local map = call('HGET', RQ .. ':job:' .. j, 'aq_map')
  if (not map or map == '') and not call('LPOS', CALLS, j) then
    call('RPUSH', CALLS, j)
    call('ZADD', TURNS, -1, '*')
  end
end
for _ = 1, call('LLEN', QUEUE) do
  if not nudge(t) then break end
end
return stop
