-- uses: split
-- How many single jobs of an environment have not ended: of those that wait or run it looks at 10,000 at most.
local count = call('ZCARD', RQ .. ':scheduled:' .. ENV)
local function look(j)
  count = count + call('HEXISTS', RQ .. ':job:' .. j, 'aq_keep')
end
for _, j in ipairs(call('LRANGE', RQ .. ':queue:' .. ENV, 0, 9999)) do look(j) end
for _, member in ipairs(call('ZRANGE', WIP, 0, 9999)) do look((split(member))) end
return count
