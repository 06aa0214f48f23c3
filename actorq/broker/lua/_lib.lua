-- Shared by the scripts. What stands before the first `--@` is put before each of them when it is loaded; a part marked
-- `--@ name < parts it needs` only where a line `-- uses: …` asks for it, in a branch that is seldom taken if it can be:
-- making a function takes up to 1 us in every call.
--
-- Every script gets   ARGV[1] RQ's prefix   ARGV[2] our prefix   ARGV[3] environment
-- Redis TIME is the only clock of a lease; the ISO stamps are for people.
--
--   rq:job:<j>              HASH  a lease      rq:execution:<j>:<x>     HASH   its running attempt
--   rq:worker:<w>           HASH  a replica    rq:worker:<w>:executions SET    "<j>:<x>" it runs
--   rq:wip:<env>            ZSET  "<j>:<x>" -> when that lapses: the fence, and with the job's worker_name who holds it
--   aq:maps:<env>  ZSET  live maps            aq:used:<env>             STRING when it was last used
--   aq:map:<m>              HASH  a live map   aq:out:<m>               STREAM its frames
--   aq:mail:<w>             LIST  hand-off     aq:idle:<env>            ZSET   idle replicas
--   aq:blob:<j>             STRING a payload too large for the job's hash
--   aq:lapsed:<j>:<x>       STRING the map of a lease that was not renewed, for a replica that turns out to live
--
-- Leases that wait are in rq:queue:<env>, in the order in which they came: that is what RQ's tools show. Who runs next is
-- chosen by party, which is a map, or all single calls together ("*"):
--   aq:turns:<env>          ZSET  parties of which leases wait -> how much of the replicas' time each had lately
--   aq:wait:<m>             LIST  leases of a map that anyone may run: party "<m>"
--   aq:wait:<m>:<w>         LIST  those for one replica: party "<m>:"
--   aq:calls:<env>          LIST  single calls, and inputs that `rq requeue` brought back
--   aq:served:<env>         HASH  seconds that calls had while a map waited, and maps had; both fade: see note_served
--
-- In a lease's job are ours   aq payload   aq_map   aq_attempt   aq_done, aq_end what sync.lua has told
--   aq_keep  of a single job (`task.spawn`), whose map is "": seconds that its result is kept. It has no submitter that
--            waits, so these scripts do for it what a map's ledger does. aq_retries, aq_crashes are how often it may
--            still raise, or lose its replica; aq_backoff "<base> <factor> <cap> <jitter>"; aq_sum what it was made of;
--            aq_again the retries, crashes and seconds until it is dropped that it began with;
--            aq_alone the payload with which it has a process to itself, where its environment shares them
--   aq_for   the only replica that may run it      aq_idle   1: only a replica that is idle when it is offered
--   aq_cost  of a call: seconds that it will take, by those before it
--   aq_behind, aq_ahead   "<j>:<x>" of the lease that a claim waits for, and of the claim that waits for a lease
-- A mail is "" (a nudge: look at the queue) or   <lease> 0 <attempt> 0 <plenty: see next.lua> 0 <payload>
--
-- A frame on aq:out is one of
--   l <lease> f <bytes>                    results (a final or a partial frame)
--   l <lease> c <n>                        handed back: the lease now ends before its input n
--   l <lease> x <reason> p <pos> w <w>     lost: its replica died while it ran input pos; "" unknown, "-" none
--   l <lease> a <w>                        its replica, which was not heard of for the length of a lease, lives
-- That of a single job holds what has ended it, in the end: its results, how it was lost, or an "e".
-- That of a run is its journal: it is never trimmed, and holds four more kinds
--   l <lease> o <count>                    opened, with so many inputs from the index that its id tells; "a": alone
--   l "" e <state>                         the run has ended
--   l "" n ""                              more of its inputs are stored, or all
--   l "" r ""                              it was opened once more: what has failed, or was out, is to run again
--
-- A call costs the server about 1 us beside its own work, 2 where it was asleep before, and two of these scripts are on
-- the path of every remote call. So they write what decides who runs what, and little that only people look at: most of
-- what RQ's tools show of a running lease is written by book.lua, and its TTLs are set by renew.lua, when it has run for
-- longer than a moment.
local call = redis.call
local RQ, AQ, ENV = ARGV[1], ARGV[2], ARGV[3]
local WIP, IDLE = RQ .. ':wip:' .. ENV, AQ .. ':idle:' .. ENV
local DAY = 86400
local MAP_TTL = 15 -- MAP_TTL_SECONDS in keys.py
local FAILURE_TTL = DAY
-- What RQ's tools unpickle to describe a job; replicas never read it. Protocol 0 of ('…run_lease', None, (), {}).
local JOB_DATA = '(Vactorq.replica.stock.run_lease\nN(t(dt.'

--@ now
local t = call('TIME') -- from here on: Unix seconds
t = t[1] + t[2] / 1000000

--@ split
local function split(member)
  return string.match(member, '^(.*):([^:]*)$')
end

--@ alive
-- Map "" is that of an input which `rq requeue` brought back: nobody waits for its result.
local function alive(map)
  return map == '' or call('EXISTS', AQ .. ':map:' .. map) == 1
end

--@ addressed
-- Whether a lease is for one replica, whose tag its id ends with: "_" and eight digits.
local function addressed(j)
  return string.byte(j, -9) == 95
end

--@ replicas
-- How many are registered.
local function replicas()
  return call('SCARD', RQ .. ':workers:' .. ENV)
end

--@ emit
-- Sends a frame to a map that still lives: its submitter keeps the stream. True when it was sent. Where something else
-- lies in the place of the stream, nobody can be told: its submitter sees that, too, and ends the map.
local function emit(map, ...)
  local out = AQ .. ':out:' .. map
  local sent = map == '' or redis.pcall('XADD', out, 'NOMKSTREAM', '*', ...)
  if type(sent) == 'table' then
    if string.find(sent.err, 'WRONGTYPE', 1, true) then return false end
    return call('XADD', out, 'NOMKSTREAM', '*', ...) -- what it has refused, it refuses again
  end
  if sent then return true end
  if call('EXISTS', AQ .. ':map:' .. map) == 0 then return false end
  call('XADD', out, '*', ...) -- of a submitter of another version, which must be told so
  call('EXPIRE', out, MAP_TTL)
  return true
end

--@ open_stream
-- Makes the stream of a map, empty. Without one, what its replicas send is dropped.
local function open_stream(out, ttl)
  if call('EXISTS', out) == 0 then
    call('XGROUP', 'CREATE', out, 'none', '$', 'MKSTREAM')
    call('XGROUP', 'DESTROY', out, 'none')
  end
  call('EXPIRE', out, ttl)
end

--@ knows
-- Whether a journal still has the entry that was read last. A journal loses nothing, so else the server has returned in
-- an older state: whoever has read more must fold what there is now, before it writes or reads on.
local function knows(out, last)
  return last == '0-0' or call('XRANGE', out, last, last)[1] ~= nil
end

--@ leads < knows
-- Whether who writes is the driver of a run, and has read no more of its journal than there is.
local function leads(map, out, owner, last)
  return call('HGET', map, 'owner') == owner and knows(out, last)
end

--@ namesake
-- What else has the name of a map, a run or a job, which would have the same stream of results: "" for nothing.
local function namesake(name, kind)
  if kind ~= 'run' and call('EXISTS', AQ .. ':run:' .. name) == 1 then return 'run' end
  if kind ~= 'job' and call('HEXISTS', RQ .. ':job:' .. name, 'aq_keep') == 1 then return 'job' end
  local f = kind ~= 'map' and call('HMGET', AQ .. ':map:' .. name, 'owner', 'run')
  return f and f[1] and not f[2] and 'map' or ''
end

--@ waiting
local QUEUE, TURNS, CALLS = RQ .. ':queue:' .. ENV, AQ .. ':turns:' .. ENV, AQ .. ':calls:' .. ENV

--@ place < waiting
-- The list where a lease waits, and its party. Of its job are the map, the replica it is for, and what the call costs.
local function place(map, w, cost)
  if cost or map == '' then return CALLS, '*' end
  if w then return AQ .. ':wait:' .. map .. ':' .. w, map .. ':' end
  return AQ .. ':wait:' .. map, map
end

--@ dequeue < place
-- Takes a lease out of what waits.
local function dequeue(j, map, w, cost)
  call('LREM', QUEUE, 1, j)
  call('LREM', (place(map, w, cost)), 1, j)
end

--@ note_served
-- Adds to the seconds that "calls" or "maps" had. Half of them are forgotten in ten seconds (HALF_LIFE in share.py).
local function note_served(t, who, seconds)
  local key = AQ .. ':served:' .. ENV
  local f = call('HMGET', key, 'at', 'calls', 'maps')
  local kept = 2 ^ ((tonumber(f[1] or t) - t) / 10)
  local had = {calls = tonumber(f[2] or 0) * kept, maps = tonumber(f[3] or 0) * kept}
  had[who] = had[who] + seconds
  call('HSET', key, 'at', string.format('%.3f', t), 'calls', had.calls, 'maps', had.maps)
  call('EXPIRE', key, 600)
end

--@ chooser < waiting dequeue alive
-- Makes the function that gives the next lease for replica w, its party, and the list where it waited.
local function chooser(w, first, contended, ahead, enough)
  local function take(party)
    local keyed = string.byte(party, -1) == 58
    local list = party == '*' and CALLS or AQ .. ':wait:' .. party .. (keyed and w or '')
    if ahead and not keyed and (party == '*' or not enough(call('LLEN', list))) then return nil end
    local j = call('LPOP', list)
    if j then call('LREM', QUEUE, 1, j) end
    if not keyed and (not j or party == '*') and call('EXISTS', list) == 0 then call('ZREM', TURNS, party) end
    return j, party, party ~= '*' and list
  end

  -- What nobody's list knows: it comes from RQ's tools, or the list was deleted.
  local function foreign()
    for _, j in ipairs(call('LRANGE', QUEUE, 0, 7)) do
      local f = call('HMGET', RQ .. ':job:' .. j, 'aq_map', 'aq_for', 'aq_cost')
      if not (f[2] and f[2] ~= w and alive(f[1]) and call('EXISTS', RQ .. ':worker:' .. f[2]) == 1) then
        dequeue(j, f[1] or '', f[2], f[3])
        return j, ''
      end
    end
  end

  -- Calls go before all maps, until they had more of the recent time than these.
  local late = false
  if contended and first[1] == '*' then
    local had = call('HMGET', AQ .. ':served:' .. ENV, 'calls', 'maps')
    late = tonumber(had[1] or 0) > tonumber(had[2] or 0)
  end

  return function()
    for _, party in ipairs(first) do
      if not (late and party == '*') then
        local j, its, list = take(party)
        if j then return j, its, list end
      end
    end
    if contended then
      for _, party in ipairs(call('ZRANGE', TURNS, 0, -1)) do
        local j, its, list = take(party)
        if j then return j, its, list end
      end
    end
    if not ahead then return foreign() end
  end
end

--@ charge < waiting note_served
-- A party was chosen before others: what its lease will take counts from now on, until its submitter says what it took.
local function charge(j, party, map, t)
  if party == '*' then
    note_served(t, 'calls', tonumber(call('HGET', RQ .. ':job:' .. j, 'aq_cost') or 0))
  elseif party ~= '' then
    call('ZADD', TURNS, 'XX', 'INCR', call('HGET', AQ .. ':map:' .. map, 'cost') or 0.02, party)
  end
end

--@ hand_over
-- Gives a new lease to idle worker w, who waits on its mailbox.
local function hand_over(j, w, stamp, t, lease_s, description, map, payload, plenty)
  call('HSET', RQ .. ':job:' .. j, 'created_at', stamp, 'origin', ENV, 'status', 'started', 'worker_name', w,
    'description', description, 'data', JOB_DATA, 'aq_attempt', 1, 'aq_map', map, 'aq', payload)
  call('ZADD', WIP, t + lease_s, j .. ':1')
  call('RPUSH', AQ .. ':mail:' .. w, j .. '\0001\000' .. plenty .. '\0' .. payload)
end

--@ record_queued
-- Makes the job of a new lease that is to wait in the queue.
local function record_queued(j, stamp, description, map, payload)
  local job = RQ .. ':job:' .. j
  call('HSET', job, 'created_at', stamp, 'enqueued_at', stamp, 'origin', ENV, 'status', 'queued',
    'description', description, 'data', JOB_DATA, 'timeout', '-1', 'result_ttl', '0', 'failure_ttl', FAILURE_TTL,
    'aq_map', map, 'aq', payload)
  call('EXPIRE', job, DAY)
end

--@ renew_map < open_stream
-- Keeps a map, and its stream, for ttl seconds; tells RQ's tools of the queue, and that the environment is in use.
local function renew_map(map, out, ttl, t)
  call('EXPIRE', map, ttl)
  open_stream(out, ttl)
  call('SADD', RQ .. ':queues', RQ .. ':queue:' .. ENV)
  call('SET', AQ .. ':used:' .. ENV, string.format('%.3f', t), 'EX', DAY)
end

--@ forget
-- Forgets a lease that is no longer run by worker w, who runs one at a time.
local function forget(j, x, w)
  call('DEL', RQ .. ':job:' .. j, RQ .. ':execution:' .. j .. ':' .. x, AQ .. ':blob:' .. j,
    RQ .. ':worker:' .. w .. ':executions')
end

--@ owned < split
-- What worker w holds, read or not. Looks at all that runs (1 ms for 1,000 leases): for a replica that begins, has
-- waited in vain or had a lease taken back, and when a connection or an executor was lost.
local function owned(w)
  local found = {}
  for _, member in ipairs(call('ZRANGE', WIP, 0, -1)) do
    if call('HGET', RQ .. ':job:' .. (split(member)), 'worker_name') == w then found[#found + 1] = member end
  end
  return found
end

--@ take_idle
-- The idle replica that was seen last, or nil. Entries that no supervisor renews are not believed.
local function take_idle(t)
  local top = call('ZPOPMAX', IDLE)
  if not top[1] then return nil end
  if tonumber(top[2]) < t then
    call('DEL', IDLE)
    return nil
  end
  return top[1]
end

--@ wake
-- Has worker w, who waits on its mailbox or is going to, look at the queue: an empty mail.
local function wake(w)
  call('RPUSH', AQ .. ':mail:' .. w, '')
  call('EXPIRE', AQ .. ':mail:' .. w, 60)
end

--@ unsend < wake
-- Takes back what worker w was sent and has not read: who has a mail was idle, and holds no other lease. It is not among
-- the idle ones any more, so it is told to look at the queue: else it waits on its mailbox while leases wait for it.
local function unsend(w)
  if w ~= '' and call('DEL', AQ .. ':mail:' .. w) == 1 then wake(w) end
end

--@ nudge < take_idle wake
-- Has an idle replica look at the queue, if there is one.
local function nudge(t)
  if call('EXISTS', RQ .. ':suspended') == 1 then return false end
  local w = take_idle(t)
  if not w then return false end
  wake(w)
  return true
end

--@ put_back < place nudge
-- Lets a lease wait again, whose job says so: at the head of the queue, or at its end.
local function put_back(j, map, cost, t, head)
  local job = RQ .. ':job:' .. j
  call('HSET', job, 'status', 'queued')
  call('HDEL', job, 'worker_name', 'aq_behind', 'aq_ahead')
  local list, party = place(map, nil, cost)
  call(head and 'LPUSH' or 'RPUSH', QUEUE, j)
  call(head and 'LPUSH' or 'RPUSH', list, j)
  call('ZADD', TURNS, 'NX', party == '*' and -1 or call('HGET', AQ .. ':map:' .. map, 'served') or 0, party)
  nudge(t)
end

--@ job_waits
-- A job is to run at a time: RQ's tools show it as scheduled. job_due.lua brings it to the queue then.
local function job_waits(j, due)
  local scheduled = RQ .. ':scheduled:' .. ENV
  call('HSET', RQ .. ':job:' .. j, 'status', 'scheduled')
  call('HDEL', RQ .. ':job:' .. j, 'worker_name')
  call('ZADD', scheduled, string.format('%.3f', due), j)
end

--@ job_ends
-- A single job has ended: what has ended it is kept for whoever asks, and RQ's tools show the job, until its time is over.
local function job_ends(j, status, t, ...)
  local job, out, registry = RQ .. ':job:' .. j, AQ .. ':out:' .. j, RQ .. ':' .. status .. ':' .. ENV
  local keep = tonumber(call('HGET', job, 'aq_keep'))
  call('HSET', job, 'status', status)
  call('XADD', out, '*', 'l', j, ...)
  call('EXPIRE', out, keep)
  call('EXPIRE', job, keep)
  call('ZADD', registry, string.format('%d', math.ceil(t) + keep), j)
  if call('TTL', registry) < keep then call('EXPIRE', registry, keep) end
end

--@ job_tries < put_back job_waits job_ends
-- A single job raised, or lost its replica: it runs again, or has failed for good. `left` names what it uses up, "" for
-- nothing. Returns whether it has failed.
local function job_tries(j, left, t, ...)
  local job = RQ .. ':job:' .. j
  local alone = left == 'aq_crashes' and call('HGET', job, 'aq_alone')
  if alone then -- it shared its process: now it runs in one of its own, and only what ends that is charged
    call('HSET', job, 'aq', alone)
    call('HDEL', job, 'aq_alone')
    left = ''
  end
  if left ~= '' and call('HINCRBY', job, left, -1) < 0 then
    job_ends(j, 'failed', t, ...)
    return true
  end
  local delay = 0
  if left == 'aq_retries' then
    local f = call('HMGET', job, 'aq_backoff', 'aq_raised')
    local base, factor, cap, jitter = string.match(f[1] or '', '^(%S+) (%S+) (%S+) (%S+)$')
    local raised = tonumber(f[2] or '0')
    call('HSET', job, 'aq_raised', raised + 1)
    if base then
      delay = math.min(tonumber(base) * tonumber(factor) ^ raised, tonumber(cap))
      if jitter == '1' then delay = delay * (1 - (t * 1000) % 1 / 2) end -- as Backoff.delay; the clock is the dice
    end
  end
  if delay > 0 then job_waits(j, t + delay) else put_back(j, '', nil, t, true) end
  return false
end

--@ drop_payload
-- Removes the payload of a single job, also where it lies beside it: see blobs.py.
local function drop_payload(job)
  for _, payload in ipairs(call('HMGET', job, 'aq', 'aq_alone')) do
    if payload and string.sub(payload, 1, 4) == '\255\255\255\255' then call('DEL', string.sub(payload, 5)) end
  end
  call('HDEL', job, 'aq', 'aq_alone')
end

--@ job_done < job_tries drop_payload
-- A single job has run. `failed`: the arguments of next.lua, where the 13th and those behind it tell how it failed.
local function job_done(j, x, w, t, stamp, frame, failed)
  local job = RQ .. ':job:' .. j
  call('DEL', RQ .. ':execution:' .. j .. ':' .. x, RQ .. ':worker:' .. w .. ':executions')
  call('HSET', job, 'ended_at', stamp)
  if not failed then
    drop_payload(job) -- nobody runs it again
    return job_ends(j, 'finished', t, 'f', frame)
  end
  local disturbed = failed[12] == '~' -- it runs again by itself
  if failed[17] ~= '' and not disturbed then call('HSET', job, 'aq_retries', 0) end -- also if its payload cannot be read
  if job_tries(j, disturbed and 'aq_crashes' or 'aq_retries', t, 'f', frame) then
    local results = RQ .. ':results:' .. j
    call('HSET', job, 'worker_name', w)
    if failed[14] then
      call('HSET', job, 'description', failed[14])
      call('XADD', results, '*', 'type', 2, 'worker_name', w, 'exc_string', failed[15])
      call('EXPIRE', results, call('TTL', job))
    end
  end
end

--@ record_failure
-- Puts a failed input into RQ's registry, as a job of its own, so that `rq info` and dashboards show it and `rq requeue`
-- can run it. The registry is bounded: a map of a million failures must not fill the server with their tracebacks.
local function record_failure(id, description, trace, payload, w, stamp, t)
  local failed = RQ .. ':failed:' .. ENV
  if call('ZCARD', failed) >= 10000 then return end
  local job, results = RQ .. ':job:' .. id, RQ .. ':results:' .. id
  call('HSET', job, 'created_at', stamp, 'enqueued_at', stamp, 'started_at', stamp, 'ended_at', stamp, 'origin', ENV,
    'status', 'failed', 'description', description, 'worker_name', w, 'timeout', '-1', 'result_ttl', '0',
    'failure_ttl', FAILURE_TTL, 'data', JOB_DATA, 'aq_map', '', 'aq', payload)
  call('EXPIRE', job, FAILURE_TTL)
  call('XADD', results, '*', 'type', 2, 'worker_name', w, 'exc_string', trace)
  call('EXPIRE', results, FAILURE_TTL)
  call('ZADD', failed, t + FAILURE_TTL, id)
  call('EXPIRE', failed, FAILURE_TTL)
end

--@ take_away < emit forget job_tries
-- Takes a running lease from worker w and tells its map by the frame that follows (see the head). A single job has none:
-- it runs again, or has failed. An input that `rq requeue` brought back has none: it returns to the failed registry.
local function take_away(j, x, w, t, kind, what, ...)
  call('ZREM', WIP, j .. ':' .. x)
  local job = RQ .. ':job:' .. j
  local f = call('HMGET', job, 'aq_map', 'aq_keep')
  local map = f[1]
  if map == '' then
    call('DEL', RQ .. ':execution:' .. j .. ':' .. x, RQ .. ':worker:' .. w .. ':executions')
    if f[2] then
      local _, pos = ...
      local left = (kind ~= 'x' or pos == '-') and '' or 'aq_crashes'
      if left ~= '' and (what == 'timeout' or what == 'blocked') then left = 'aq_retries' end -- STUCK, BLOCKED: failure.py
      job_tries(j, left, t, kind, what, ...)
      return
    end
    call('HSET', job, 'status', 'failed')
    call('ZADD', RQ .. ':failed:' .. ENV, t + FAILURE_TTL, j)
    return
  end
  if map then emit(map, 'l', j, kind, what, ...) end
  forget(j, x, w)
end

--@ give_back < take_away alive addressed put_back
-- A lease that has not begun returns to the head of the queue; one that not just any replica may run, whenever it may be
-- free, to its submitter.
local function give_back(j, x, w, t)
  local job = RQ .. ':job:' .. j
  local f = call('HMGET', job, 'created_at', 'aq_map', 'aq_idle', 'aq_cost', 'aq_keep')
  if not f[5] then
    if addressed(j) or f[3] or not f[1] or not alive(f[2]) then return take_away(j, x, w, t, 'c', '0') end
    call('EXPIRE', job, DAY)
  end
  call('ZREM', WIP, j .. ':' .. x)
  call('HSET', job, 'enqueued_at', f[1])
  put_back(j, f[2], f[4], t, true)
end

--@ reap < split take_away give_back unsend
-- Turns leases that were not renewed into `lost` frames; their submitter decides what runs again. At most 32 a call.
local function reap(t)
  local lapsed = call('ZRANGEBYSCORE', WIP, '-inf', t, 'LIMIT', 0, 32)
  for _, member in ipairs(lapsed) do
    if call('ZSCORE', WIP, member) then -- else it was given back with the one before it
      local j, x = split(member)
      local f = call('HMGET', RQ .. ':job:' .. j, 'worker_name', 'aq_behind', 'aq_ahead')
      local w = f[1] or ''
      unsend(w)
      if f[2] and call('ZSCORE', WIP, f[2]) then -- the one before it has not ended
        give_back(j, x, w, t)
      else
        if f[3] and call('ZSCORE', WIP, f[3]) then
          local k, y = split(f[3])
          give_back(k, y, w, t)
        end
        local map = call('HGET', RQ .. ':job:' .. j, 'aq_map')
        if map then call('SET', AQ .. ':lapsed:' .. member, map, 'EX', 3600) end
        take_away(j, x, w, t, 'x', 'lapsed', 'p', '', 'w', w)
      end
    end
  end
  return #lapsed
end
