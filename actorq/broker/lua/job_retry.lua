-- uses: now put_back
-- Runs a single job that has failed once more, with all its retries.
--
-- KEYS  1 rq:job:<j>
-- ARGV  4 its id
-- Returns 1; 0 for one that has not failed, or whose input is not there.
local j, job = ARGV[4], KEYS[1]
local f = call('HMGET', job, 'aq_again', 'status', 'aq')
if not f[1] or f[2] ~= 'failed' or not f[3] or f[3] == '' then return 0 end
call('ZREM', RQ .. ':failed:' .. ENV, j)
local retries, crashes, expires = string.match(f[1], '^(%d+) (%d+) (%d+)$')
call('HSET', job, 'aq_retries', retries, 'aq_crashes', crashes)
call('HDEL', job, 'ended_at', 'aq_raised')
call('EXPIRE', job, expires)
put_back(j, '', nil, t, false)
return 1
