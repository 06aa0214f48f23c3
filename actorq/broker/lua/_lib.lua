-- Shared by all scripts: put before each of them when it is loaded.
--
-- Every script gets   ARGV[1] RQ's prefix   ARGV[2] our prefix   ARGV[3] environment
-- Redis TIME is the only clock of a lease; the ISO stamps are for people.
--
--   rq:job:<j>              HASH  a lease      rq:execution:<j>:<x>    HASH  its running attempt
--   rq:worker:<w>           HASH  a replica    rq:worker:<w>:executions SET  "<j>:<x>" it runs
--   aq:map:<m>              HASH  a live map   aq:out:<m>             STREAM its frames
--   aq:mail:<w>             LIST  hand-off     aq:idle:<env>          ZSET   idle replicas
--
-- A frame on aq:out is one of
--   l <lease> f <bytes>                    results (a final or a partial frame)
--   l <lease> c <n>                        handed back: the lease now ends before its input n
--   l <lease> x <reason> p <pos|""> w <w>  lost: its replica died while it ran input pos (unknown: "")
local RQ, AQ, ENV = ARGV[1], ARGV[2], ARGV[3]
local K = {
  queue = RQ .. ':queue:' .. ENV, wip = RQ .. ':wip:' .. ENV, idle = AQ .. ':idle:' .. ENV,
  failed = RQ .. ':failed:' .. ENV, workers = RQ .. ':workers:' .. ENV, suspended = RQ .. ':suspended',
}
local OUT_TTL = 15
local FAILURE_TTL = 86400
-- What RQ's tools unpickle to describe a job; replicas never read it. Protocol 0 of ('…run_lease', None, (), {}).
local JOB_DATA = '(Vactorq.replica.stock.run_lease\nN(t(dt.'

local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end

local function split(member)
  return string.match(member, '^(.*):([^:]*)$')
end

local function alive(map)
  return map == '' or redis.call('EXISTS', AQ .. ':map:' .. map) == 1
end

-- Sends a frame to a map that still lives; a dead map's stream is removed. True when it was sent.
-- Map "" is that of an input which `rq requeue` brought back: nobody waits for its result.
local function emit(map, ...)
  if map == '' then return true end
  local out = AQ .. ':out:' .. map
  if not alive(map) then
    redis.call('DEL', out)
    return false
  end
  redis.call('XADD', out, '*', ...)
  redis.call('EXPIRE', out, OUT_TTL)
  return true
end

-- Forgets a lease that is no longer run by worker w.
local function forget(j, x, w)
  redis.call('DEL', RQ .. ':job:' .. j, RQ .. ':execution:' .. j .. ':' .. x)
  if w and w ~= '' then
    redis.call('SREM', RQ .. ':worker:' .. w .. ':executions', j .. ':' .. x)
  end
end

-- Marks lease j as run by w and returns the attempt, which is also the fence.
local function claim(j, w, t, lease_s, stamp)
  local job = RQ .. ':job:' .. j
  local x = redis.call('HINCRBY', job, 'aq_attempt', 1)
  local member = j .. ':' .. x
  redis.call('HSET', job, 'status', 'started', 'started_at', stamp, 'last_heartbeat', stamp, 'worker_name', w)
  redis.call('ZADD', K.wip, t + lease_s, member)
  local execution = RQ .. ':execution:' .. member
  redis.call('HSET', execution, 'id', x, 'job_id', j, 'created_at', t, 'last_heartbeat', t, 'worker_name', w)
  redis.call('EXPIRE', execution, math.ceil(2 * lease_s))
  local executions = RQ .. ':worker:' .. w .. ':executions'
  redis.call('SADD', executions, member)
  redis.call('EXPIRE', executions, 480)
  local worker = RQ .. ':worker:' .. w
  if redis.call('EXISTS', worker) == 1 then redis.call('HSET', worker, 'state', 'busy') end
  return x
end

-- The idle replica that was seen last, or nil. Entries a supervisor stopped renewing are not believed.
local function take_idle(t)
  if redis.call('EXISTS', K.suspended) == 1 then return nil end
  local top = redis.call('ZREVRANGE', K.idle, 0, 0, 'WITHSCORES')
  if not top[1] then return nil end
  if tonumber(top[2]) < t then
    redis.call('DEL', K.idle)
    return nil
  end
  redis.call('ZREM', K.idle, top[1])
  return top[1]
end

-- Turns leases that were not renewed into `lost` frames; their submitter decides what runs again. At most 32 a call.
local function reap(t)
  local lapsed = redis.call('ZRANGEBYSCORE', K.wip, '-inf', t, 'LIMIT', 0, 32)
  for _, member in ipairs(lapsed) do
    local j, x = split(member)
    redis.call('ZREM', K.wip, member)
    local f = redis.call('HMGET', RQ .. ':job:' .. j, 'aq_map', 'worker_name')
    if f[1] then emit(f[1], 'l', j, 'x', 'lapsed', 'p', '', 'w', f[2] or '') end
    forget(j, x, f[2])
  end
  return #lapsed
end
