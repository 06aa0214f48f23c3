-- uses: now split
-- A supervisor tells what RQ's tools show of its replicas: what each runs, and what it has done so far. Nothing else
-- depends on it, so leases that were committed before anybody could look are never written here.
--
-- ARGV  4 lease s   5 ISO stamp   then per replica: its name, "busy" or "idle", "<lease>:<attempt>" to show or "",
--       leases done, leases with failures, busy seconds
-- Returns 1.
local lease_s, stamp = tonumber(ARGV[4]), ARGV[5]
local ttl = math.ceil(4 * lease_s)
call('ZREM', WIP, '') -- so that a full server takes it: see renew.lua
for i = 6, #ARGV, 6 do
  local w, member = ARGV[i], ARGV[i + 2]
  local worker = RQ .. ':worker:' .. w
  if call('EXISTS', worker) == 1 then
    call('HSET', worker, 'state', ARGV[i + 1], 'successful_job_count', ARGV[i + 3], 'failed_job_count', ARGV[i + 4],
      'total_working_time', ARGV[i + 5])
  end
  call('DEL', worker .. ':executions')
  if member ~= '' and call('ZSCORE', WIP, member) then
    local j, x = split(member)
    local job, execution = RQ .. ':job:' .. j, RQ .. ':execution:' .. member
    local f = call('HMGET', job, 'created_at', 'started_at', 'enqueued_at')
    if f[1] then
      call('HSET', job, 'enqueued_at', f[3] or f[1], 'started_at', f[2] or f[1], 'last_heartbeat', stamp, 'timeout', '-1',
        'result_ttl', '0', 'failure_ttl', FAILURE_TTL)
      call('EXPIRE', job, DAY)
      call('HSETNX', execution, 'created_at', t)
      call('HSET', execution, 'id', x, 'job_id', j, 'last_heartbeat', t, 'worker_name', w)
      call('EXPIRE', execution, ttl)
      call('SADD', worker .. ':executions', member)
      call('EXPIRE', worker .. ':executions', ttl)
    end
  end
end
return 1
