-- uses: now reap open_stream waiting note_served knows
-- A submitter's heartbeat: keeps its map alive and tells how far it is, reports lapsed leases, and asks which of its
-- leases are gone.
--
-- KEYS  1 aq:map:<m>   2 aq:out:<m>
-- ARGV  4 map TTL s, of a run that of its record   5 owner   6 map id, "" for a lane of single calls   7 the last id it has read of its stream
--       8 seconds of the replicas' time the map had lately   9 seconds a lease of it takes   10 seconds it had since
--       the last heartbeat   11 how many fields of progress follow (name and value each: twice as many)   then the ids
--       of the leases it waits for
-- Returns {live replicas, 1 while the server knows of the map all that was read, ids without an unfinished job...}; for
-- the replicas -1 where another driver has taken over this run, or its journal is another one, -2 where somebody has cancelled the map.
local map, last = ARGV[6], ARGV[7]

local function older(a, b) -- of two ids of a stream
  local a_ms, a_n = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_n = string.match(b, '^(%d+)-(%d+)$')
  a_ms, b_ms = tonumber(a_ms), tonumber(b_ms)
  return a_ms < b_ms or (a_ms == b_ms and tonumber(a_n) < tonumber(b_n))
end

-- A stream that is gone, or comes from an older state of the server, may go on with ids that seem to be read already,
-- where the clock of the server's host is behind the one of its last.
local known = call('EXISTS', KEYS[1], KEYS[2]) == 2 and 1 or 0
if known == 1 then
  local info = call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' and older(info[i + 1], last) then known = 0 end
  end
end
call('ZREM', WIP, '') -- so that a full server takes it: see renew.lua
local owned = call('HMGET', KEYS[1], 'owner', 'run', 'cancelled')
if owned[3] then return {-2, known} end
if owned[2] and owned[1] ~= ARGV[5] then return {-1, known} end -- another driver has taken over a run
local ttl = ARGV[4]
if owned[2] then -- a run, whose keys go together
  if not knows(KEYS[2], last) then return {-1, 0} end
  ttl = call('TTL', AQ .. ':run:' .. map)
  if ttl <= 0 then return {-1, 0} end
end
call('HSETNX', KEYS[1], 'serial', 0)
call('HSET', KEYS[1], 'owner', ARGV[5], 'served', ARGV[8], 'cost', ARGV[9])
call('EXPIRE', KEYS[1], ttl)
open_stream(KEYS[2], ttl)
reap(t)
call('SET', AQ .. ':used:' .. ENV, t, 'EX', DAY)
local fields = tonumber(ARGV[11])
if map ~= '' then
  if fields > 0 then call('HSET', KEYS[1], unpack(ARGV, 12, 11 + 2 * fields)) end
  local maps = AQ .. ':maps:' .. ENV
  call('ZREMRANGEBYSCORE', maps, '-inf', t)
  call('ZADD', maps, t + math.min(tonumber(ttl), MAP_TTL), map)
  call('EXPIRE', maps, 60)
  call('SADD', RQ .. ':queues', RQ .. ':queue:' .. ENV) -- so that who looks finds those of regular tasks, too
  if ARGV[10] ~= '0' then note_served(t, 'maps', ARGV[10]) end
end
local workers, live = RQ .. ':workers:' .. ENV, 0
for _, worker in ipairs(call('SMEMBERS', workers)) do
  if call('EXISTS', worker) == 1 then live = live + 1 else call('SREM', workers, worker) end
end

-- A job's status is not believed alone: the lists that it tells of may have been deleted.
local reply, running, parties = {live, known}, 0, {}
local waits = {} -- leases for anyone, as a set
if map ~= '' then
  for _, j in ipairs(call('LRANGE', AQ .. ':wait:' .. map, 0, -1)) do
    waits[j] = true
    parties[map] = AQ .. ':wait:' .. map
  end
end
for i = 12 + 2 * fields, #ARGV do
  local j = ARGV[i]
  local f = call('HMGET', RQ .. ':job:' .. j, 'status', 'aq_attempt', 'aq_for')
  local there = false
  if f[1] == 'started' then
    there = call('ZSCORE', WIP, j .. ':' .. (f[2] or ''))
    running = running + 1
  elseif f[1] == 'queued' then
    if map == '' then
      there = call('LPOS', CALLS, j)
    elseif f[3] then
      there = call('LPOS', AQ .. ':wait:' .. map .. ':' .. f[3], j)
      parties[map .. ':'] = AQ .. ':wait:' .. map .. ':' .. f[3]
    else
      there = waits[j]
    end
  end
  if not there then reply[#reply + 1] = j end
end
if map ~= '' then
  for _, party in ipairs({map, map .. ':'}) do
    if parties[party] then
      call('ZADD', TURNS, ARGV[8] + running * ARGV[9], party)
      call('EXPIRE', parties[party], DAY)
    else
      call('ZREM', TURNS, party)
    end
  end
end
return reply
