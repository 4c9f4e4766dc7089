-- The floors of channels: events up to them are over a limit. They are kept for delivery to connected clients, and are
-- not sent to clients that return. Stands between `prelude.lua` and a script that reads.

local GRACE = 1000  -- milliseconds for which the newest event is kept, however short the history

-- The sequence up to which all events are too old. The newest mark that is old enough is among the first ones.
local function find_aged(kind)
  local oldest = now - kind.seconds * 1000
  if state.at and tonumber(state.at) < oldest - GRACE then
    return sequence
  end
  local from, aged = 0, 0
  while true do
    local marks = redis.call('LRANGE', kind.clock, from, from + 19)
    for _, mark in ipairs(marks) do
      local at, number = string.match(mark, '^(%d+) (%d+)$')
      if tonumber(at) > oldest then
        return aged
      end
      aged = tonumber(number)
    end
    if #marks < 20 then
      return aged
    end
    from = from + 20
  end
end

-- A channel's newest event up to a sequence; 0 if there is none.
local function find_last_before(channel, number)
  local entry = redis.call('XREVRANGE', stream_key(channel), text(number), '-', 'COUNT', 1)[1]
  return entry and tonumber(string.match(entry[1], '^%d+')) or 0
end

-- A channel's event after which there are exactly as many as may be kept; 0 if there are no more than that.
local function find_last_over(channel, events)
  local excess, entries = redis.call('XLEN', stream_key(channel)) - events
  if excess <= 0 then
    return 0
  elseif excess <= events then  -- from the nearer end: entries cannot be counted without reading them
    entries = redis.call('XRANGE', stream_key(channel), '-', '+', 'COUNT', excess)
  else
    entries = redis.call('XREVRANGE', stream_key(channel), '+', '-', 'COUNT', events + 1)
  end
  return tonumber(string.match(entries[#entries][1], '^%d+'))
end

local aged = {}

-- The sequence up to which a channel's events are over a limit.
local function find_floor(channel)
  local kind = get_kind(channel)
  aged[kind.clock] = aged[kind.clock] or find_aged(kind)
  local floor, first = get_trimmed(channel), redis.call('ZSCORE', kind.firsts, channel)
  if first and tonumber(first) <= aged[kind.clock] then
    floor = math.max(floor, find_last_before(channel, aged[kind.clock]))
  end
  return math.max(floor, find_last_over(channel, kind.events))
end
