-- Which of the events that are kept are over a limit: they are for delivery to those who were connected, and for
-- nobody who returns. Goes between `life.lua` and a script that reads.

local GRACE = 1000  -- milliseconds for which the newest event is kept, however short the history

-- The place up to which all events are too old. The newest mark that is old enough is among the first ones.
local function aged_of(kind)
  local oldest = now - kind.seconds * 1000
  if life.at and tonumber(life.at) < oldest - GRACE then
    return sequence
  end
  local from, aged = 0, 0
  while true do
    local marks = redis.call('LRANGE', kind.clock, from, from + 19)
    for _, mark in ipairs(marks) do
      local at, place = string.match(mark, '^(%d+) (%d+)$')
      if tonumber(at) > oldest then
        return aged
      end
      aged = tonumber(place)
    end
    if #marks < 20 then
      return aged
    end
    from = from + 20
  end
end

-- A channel's newest event at or below a place; 0 if there is none.
local function last_before(channel, place)
  local entry = redis.call('XREVRANGE', stream_of(channel), text(place), '-', 'COUNT', 1)[1]
  return entry and tonumber(string.match(entry[1], '^%d+')) or 0
end

-- A channel's event after which there are just as many as may be kept; 0 if there are no more than that.
local function last_over(channel, events)
  local excess, entries = redis.call('XLEN', stream_of(channel)) - events
  if excess <= 0 then
    return 0
  elseif excess <= events then  -- from the nearer end: an entry cannot be counted without its event
    entries = redis.call('XRANGE', stream_of(channel), '-', '+', 'COUNT', excess)
  else
    entries = redis.call('XREVRANGE', stream_of(channel), '+', '-', 'COUNT', events + 1)
  end
  return tonumber(string.match(entries[#entries][1], '^%d+'))
end

local aged = {}

-- The place up to which a channel's events are over a limit.
local function floor_of(channel)
  local kind = kind_of(channel)
  aged[kind.clock] = aged[kind.clock] or aged_of(kind)
  local floor, first = trimmed_of(channel), redis.call('ZSCORE', kind.firsts, channel)
  if first and tonumber(first) <= aged[kind.clock] then
    floor = math.max(floor, last_before(channel, aged[kind.clock]))
  end
  return math.max(floor, last_over(channel, kind.events))
end
