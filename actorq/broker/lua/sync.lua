-- uses: split alive emit replicas
-- A replica in the middle of a late lease sends what it has finished and gives back what it has not started.
-- Safe to send twice, also with more results the second time: what goes beyond the known end of results is sent on, and
-- the submitter takes no input twice.
--
-- ARGV  4 "<lease>:<attempt>"   5 from   6 to   7 frame ("" = none)   8 new end of the lease ("" = unchanged)
--       9 "1": it cannot run the rest itself
-- Returns 1; 2 when it keeps the rest, since there is no other replica, where it would only lose its turn; 0 when the
-- lease is no longer this replica's or its map is gone: stop working on it.
local member = ARGV[4]
if not call('ZSCORE', WIP, member) then return 0 end
local j = split(member)
local job = RQ .. ':job:' .. j
local f = call('HMGET', job, 'aq_map', 'aq_done', 'aq_end')
if not f[1] then return 0 end
call('ZREM', WIP, '') -- so that a full server takes the results: see renew.lua
local done = tonumber(f[2] or '0')
local from, to = tonumber(ARGV[5]), tonumber(ARGV[6])
if ARGV[7] ~= '' and from <= done and (done < to or from == to) then -- a frame without results says something else
  if not emit(f[1], 'l', j, 'f', ARGV[7]) then return 0 end
  call('HSET', job, 'aq_done', to)
end
if not alive(f[1]) then return 0 end
if ARGV[8] ~= '' and f[3] ~= ARGV[8] then
  if ARGV[9] ~= '1' and replicas() < 2 then return 2 end
  if not emit(f[1], 'l', j, 'c', ARGV[8]) then return 0 end
  call('HSET', job, 'aq_end', ARGV[8])
end
return 1
