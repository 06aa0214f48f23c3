-- uses: now dequeue job_ends drop_payload unsend
-- Ends a single job: what waits never runs, what runs is stopped.
--
-- Safe to send twice: a word tells this call from others.
--
-- KEYS  1 rq:job:<j>
-- ARGV  4 its id   5 ISO stamp   6 a random word
-- Returns 1; 0 for one that has ended, or is not there.
local j, job = ARGV[4], KEYS[1]
local f = call('HMGET', job, 'aq_keep', 'status', 'worker_name', 'aq_attempt', 'aq_word')
if f[5] == ARGV[6] then return 1 end
if not f[1] or not (f[2] == 'queued' or f[2] == 'started' or f[2] == 'scheduled') then return 0 end
if f[2] == 'started' then
  local member, w = j .. ':' .. (f[4] or '1'), f[3] or ''
  call('ZREM', WIP, member)
  call('DEL', RQ .. ':execution:' .. member)
  unsend(w)
  call('PUBLISH', RQ .. ':pubsub:' .. w, cjson.encode({command = 'stop-job', job_id = j}))
elseif f[2] == 'queued' then
  dequeue(j, '')
else
  call('ZREM', RQ .. ':scheduled:' .. ENV, j)
end
call('HSET', job, 'ended_at', ARGV[5], 'aq_word', ARGV[6])
call('HDEL', job, 'worker_name')
drop_payload(job)
job_ends(j, 'canceled', t, 'e', 'cancelled')
return 1
