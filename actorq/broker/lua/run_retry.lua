-- uses: now
-- Opens a run that has ended once more: what has failed runs again, and what never ran.
--
-- KEYS  1 aq:run:<m>   2 aq:out:<m>   3 aq:in:<m>   4 aq:sums:<m>   5 aq:failed:<m>   6 aq:runs:<env>
--       7 aq:ended:<env>
-- Safe to send twice: a word tells this call from others.
--
-- ARGV  4 run id   5 seconds until it is dropped   6 its plan from now on   7 a random word
-- Returns 1; 0 while it runs; -1 for one that was cancelled, or is gone.
local state = call('HGET', KEYS[1], 'state')
if state == 'running' then return call('HGET', KEYS[1], 'again') == ARGV[7] and 1 or 0 end
if state ~= 'done' and state ~= 'failed' then return -1 end
call('HSET', KEYS[1], 'state', 'running', 'plan', ARGV[6], 'begun', string.format('%.3f', t), 'again', ARGV[7])
call('HDEL', KEYS[1], 'ended', 'why')
call('HINCRBY', KEYS[1], 'rounds', 1)
call('XADD', KEYS[2], '*', 'l', '', 'r', '')
for i = 1, 5 do call('EXPIRE', KEYS[i], ARGV[5]) end
call('ZREM', KEYS[7], ARGV[4])
call('ZADD', KEYS[6], t + ARGV[5], ARGV[4])
return 1
