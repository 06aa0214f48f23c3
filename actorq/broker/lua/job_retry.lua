-- uses: now put_back
-- Runs a single job that has failed once more, with all its retries.
--
-- Safe to send twice: a word tells this call from others.
--
-- KEYS  1 rq:job:<j>
-- ARGV  4 its id   5 a random word
-- Returns 1; 0 for one that has not failed, or whose input is not there.
local j, job = ARGV[4], KEYS[1]
local f = call('HMGET', job, 'aq_again', 'status', 'aq', 'aq_alone', 'aq_word')
if f[5] == ARGV[5] then return 1 end
if not f[1] or f[2] ~= 'failed' or not f[3] or f[3] == '' then return 0 end
call('ZREM', RQ .. ':failed:' .. ENV, j)
local retries, crashes, expires = string.match(f[1], '^(%d+) (%d+) (%d+)$')
call('HSET', job, 'aq_retries', retries, 'aq_crashes', crashes)
call('HDEL', job, 'ended_at', 'aq_raised')
call('HSET', job, 'aq_word', ARGV[5])
call('EXPIRE', job, expires)
for i = 3, 4 do -- a payload that lies beside it: see blobs.py
  if f[i] and string.sub(f[i], 1, 4) == '\255\255\255\255' then call('EXPIRE', string.sub(f[i], 5), expires) end
end
put_back(j, '', nil, t, false)
return 1
