-- Returns the oldest events of some channels, of each in a range of its own, as of one moment.
--
-- ARGV     the maximum number of events of a channel, bytes in all, then channel, after, upto ...
-- returns  epoch, sequence, in one list the channel's number, sequence, body, key of each event; in another list, for
--          each channel, the sequence up to which these are all of its events, and whether some of the range are
--          missing (1 or 0)
--
-- All callers wait while a script runs. So it reads at most SCANNED bytes more than it returns: the sequence of a
-- stream's next event cannot be found without reading that event.

local SCANNED = 1000000
local LARGE = 4096  -- bytes of an event from which on the sequence of the next one is searched for

local limit, room = tonumber(ARGV[own + 1]), tonumber(ARGV[own + 2])
local rows, parts, scanned, bytes, events = {}, {}, 0, 0, 0

-- How many entries of a channel to read: as many as there is room for, by the mean size of those found so far.
local function choose_count(most)
  local mean = bytes / math.max(events, 1)
  return math.max(1, math.min(most, events == 0 and 1 or math.floor(room / math.max(mean, 1))))
end

-- The sequence before a channel's next event: up to there, all events are known.
local function find_next(channel, from, upto)
  if scanned > SCANNED then
    return from - 1
  end
  local entry = redis.call('XRANGE', stream_key(channel), text(from), text(upto), 'COUNT', 1)[1]
  if not entry then
    return upto
  end
  scanned = scanned + #entry[2][2]
  return tonumber(string.match(entry[1], '^%d+')) - 1
end

-- Adds a channel's events to `rows`; returns the sequence up to which these are all.
local function add_rows(number, channel, from, upto)
  local count, size = 0, 0
  while true do
    local asked = choose_count(limit - count)
    local entries = redis.call('XRANGE', stream_key(channel), text(from), text(upto), 'COUNT', asked)
    for _, entry in ipairs(entries) do
      local at, body = string.match(entry[1], '^%d+'), entry[2][2]
      rows[#rows + 1] = number
      rows[#rows + 1] = at
      rows[#rows + 1] = body
      rows[#rows + 1] = entry[2][4] or ''
      from, size, count = tonumber(at) + 1, #body, count + 1
      room, bytes, events = room - size, bytes + size, events + 1
    end
    if #entries < asked then
      return upto, count
    elseif count >= limit or room <= 0 then
      return size > LARGE and find_next(channel, from, upto) or from - 1, count
    end
  end
end

for index = own + 3, #ARGV, 3 do
  local channel, after, upto = ARGV[index], tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2])
  local floor = find_floor(channel)
  local first, whole, count = math.max(after, floor) + 1, upto, 0
  if first <= upto then
    if room > 0 then
      whole, count = add_rows((index - own - 3) / 3, channel, first, upto)
    else
      whole = find_next(channel, first, upto)
    end
    local kept = count == 0 and whole == upto and redis.call('ZSCORE', base .. 'firsts', channel)
    if kept and redis.call('EXISTS', stream_key(channel)) == 0 then  -- the server evicted it
      redis.call('ZREM', base .. 'firsts', channel)
      raise_floor(channel, sequence)
      floor = sequence
    end
  end
  parts[#parts + 1] = text(whole)
  parts[#parts + 1] = (is_void(after) or floor > after) and 1 or 0
end
return {epoch, text(sequence), rows, parts}
