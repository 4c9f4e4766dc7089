-- Leases of work. The part that several scripts have in common.
--
-- Keys     work:<name>   "fence until holder": the newest lease; until in ms, the holder '' if it was released
--          wants:<name>  hash, process -> until when (ms) it wants the work to be done
--          run:<id>      hash: state, details, cancelled; the record of a run
--          runs          sorted set: id of a run -> until when (ms) its record is kept
-- The field `fence` of `life` is the last fence that was given.

local RUN, RUNNING = 'run:', 'running'
local FORGOTTEN = 3600000  -- milliseconds after which a lease is forgotten that is not of a run

local function work_key(name)
  return base .. 'work:' .. name
end

-- Returns the id of the run whose work this is, or nil.
local function get_run(name)
  return string.sub(name, 1, #RUN) == RUN and string.sub(name, #RUN + 1) or nil
end

local function write_lease(name, fence, expires, holder)
  local value = fence .. ' ' .. text(expires) .. ' ' .. holder
  if get_run(name) then
    redis.call('SET', work_key(name), value)
  else
    redis.call('SET', work_key(name), value, 'PX', FORGOTTEN)
  end
end

-- Returns the fence of a lease, as text, until when it lasts, and its holder; '', 0, '' if there is none.
local function read_lease(name)
  local fence, expires, holder = string.match(redis.call('GET', work_key(name)) or '', '^(%d+) (%d+) (.*)$')
  return fence or '', tonumber(expires or 0), holder or ''
end

-- Returns the process that has a lease, if it was renewed in time; otherwise ''.
local function find_holder(name, lasts)
  local fence, expires, holder = read_lease(name)
  if expires > now + lasts then  -- written while the clock was ahead
    write_lease(name, fence, now + lasts, holder)
  end
  return expires >= now and holder or ''
end

local function take_lease(name, holder, lasts)
  local last = tonumber(redis.call('HGET', KEYS[1], 'fence') or 0)
  local fence = text(math.max(last + 1, tonumber(time[1]) * 1e6 + tonumber(time[2])))
  redis.call('HSET', KEYS[1], 'fence', fence)
  write_lease(name, fence, now + lasts, holder)
  return fence
end

-- Keeps the record of a run for as long as its events from now on.
local function keep_run(id)
  redis.call('ZADD', base .. 'runs', text(now + 1000 * tonumber(state.seconds or 3600)), id)
end
