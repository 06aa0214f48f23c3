-- uses: now put_back
-- A supervisor brings the jobs whose time has come to the queue, and drops what RQ's registries keep beyond theirs.
--
-- Returns the seconds until the next one is due, as a string; "" where none is.
local scheduled = RQ .. ':scheduled:' .. ENV
for _, j in ipairs(call('ZRANGEBYSCORE', scheduled, '-inf', t, 'LIMIT', 0, 100)) do
  call('ZREM', scheduled, j)
  local f = call('HMGET', RQ .. ':job:' .. j, 'status', 'aq_map', 'aq_cost')
  if f[1] == 'scheduled' then put_back(j, f[2] or '', f[3], t, false) end
end
for _, name in ipairs({'finished', 'canceled', 'failed'}) do
  call('ZREMRANGEBYSCORE', RQ .. ':' .. name .. ':' .. ENV, '-inf', '(' .. string.format('%d', t))
end
local next = call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')
return next[2] and tostring(next[2] - t) or ''
