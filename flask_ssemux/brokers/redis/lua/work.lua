-- Leases of work. The part that several scripts have in common.
--
-- Keys     work:<name>   "fence until number last holder": the newest lease; until in ms; the number of the last batch that
--                        was appended, and the sequence of its last event; the holder, '' if it was released
--          wants:<name>  hash, process -> until when (ms) it wants the work to be done
--          run:<id>      hash: state, details, begin, cancelled; ended: "fence number last" of the batch that ended it
--          runs          sorted set: id of a run -> until when (ms) its record is kept
--          running       sorted set: ids of the runs whose state is RUNNING
-- The field `fence` of `life` is the last fence that was given.

local RUN, RUNNING, WAITING = 'run:', 'running', 'waiting'
local FORGOTTEN = 3600000  -- milliseconds after which a lease is forgotten that is not of a run

local function work_key(name)
  return base .. 'work:' .. name
end

-- Returns the id of the run whose work this is, or nil.
local function get_run(name)
  return string.sub(name, 1, #RUN) == RUN and string.sub(name, #RUN + 1) or nil
end

local function write_lease(name, lease)
  local value = table.concat({lease.fence, text(lease.expires), lease.number, lease.last, lease.holder}, ' ')
  if get_run(name) then
    redis.call('SET', work_key(name), value)
  else
    redis.call('SET', work_key(name), value, 'PX', FORGOTTEN)
  end
end

-- Returns a lease. If there is none, its fence and its holder are ''.
local function read_lease(name)
  local value = redis.call('GET', work_key(name)) or ''
  local fence, expires, number, last, holder = string.match(value, '^(%d+) (%d+) (%d+) (%d+) (.*)$')
  return {fence = fence or '', expires = tonumber(expires or 0), number = number, last = last, holder = holder or ''}
end

-- Returns the process that has a lease, if it was renewed in time; otherwise ''.
local function find_holder(name, lasts)
  local lease = read_lease(name)
  if lease.expires > now + lasts then  -- written while the clock was ahead
    lease.expires = now + lasts
    write_lease(name, lease)
  end
  return lease.expires >= now and lease.holder or ''
end

local function take_lease(name, holder, lasts)
  local last = tonumber(redis.call('HGET', KEYS[1], 'fence') or 0)
  local fence = text(math.max(last + 1, tonumber(time[1]) * 1e6 + tonumber(time[2])))
  redis.call('HSET', KEYS[1], 'fence', fence)
  write_lease(name, {fence = fence, expires = now + lasts, number = '0', last = '0', holder = holder})
  return fence
end

-- Keeps the record of a run for as long as its events from now on.
local function keep_run(id)
  redis.call('ZADD', base .. 'runs', text(now + 1000 * tonumber(state.seconds or 3600)), id)
end

-- Writes the record of a run, if there is none; removes records that are no longer kept, some at a time.
local function add_run(id, details)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', base .. 'runs', '-inf', text(now), 'LIMIT', 0, 20)) do
    redis.call('DEL', base .. 'run:' .. old, work_key(RUN .. old))
    redis.call('ZREM', base .. 'runs', old)
    redis.call('ZREM', base .. 'running', old)
  end
  if redis.call('HSETNX', base .. 'run:' .. id, 'state', WAITING) == 1 then
    local begin = epoch .. '-' .. text(sequence)
    redis.call('HMSET', base .. 'run:' .. id, 'details', details, 'begin', begin, 'cancelled', '0')
  end
  keep_run(id)
end
