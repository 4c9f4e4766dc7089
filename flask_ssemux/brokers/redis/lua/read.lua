-- The oldest events of some channels in a range, as of one moment; and channels of which some are no more.
--
-- ARGV     after (its events have been seen), the place behind it, upto, the most events, channels ...
-- returns  epoch, sequence, missing channels, in one list the number of the channel, sequence, body, key ...,
--          and whether that is all of the range: many bytes would hold up everyone, and are left for the next call

local BYTES = 1000000

local after, first, upto, limit = tonumber(ARGV[own + 1]), ARGV[own + 2], ARGV[own + 3], tonumber(ARGV[own + 4])
local void, missing, found, whole = is_void(after), {}, {}, 1

-- A channel's events into `found`; what lies behind the last that there was room for need not be read of others.
local function take(number, channel)
  local from, room, bytes, step = first, limit, 0, 10
  while true do
    local entries = redis.call('XRANGE', stream_of(channel), from, upto, 'COUNT', math.min(step, room))
    for _, entry in ipairs(entries) do
      local sequence, body = tonumber(string.match(entry[1], '^%d+')), entry[2][2]
      found[#found + 1] = {channel = number, sequence = sequence, body = body, key = entry[2][4] or ''}
      bytes = bytes + #body
      from = text(sequence + 1)
    end
    room = room - #entries
    if #entries < math.min(step, room + #entries) then
      return
    end
    if room == 0 or bytes > BYTES then
      upto, whole = text(found[#found].sequence), 0
      return
    end
    if bytes < BYTES / 20 then
      step = step * 4
    end
  end
end

for index = own + 5, #ARGV do
  local channel, before = ARGV[index], #found
  take(index - own - 5, channel)
  local kept = redis.call('ZSCORE', base .. 'firsts', channel)
  if kept and #found == before and redis.call('EXISTS', stream_of(channel)) == 0 then  -- the server evicted it
    redis.call('ZREM', base .. 'firsts', channel)
    set_floor(channel, sequence)
  end
  if void or floor_of(channel) > after then
    missing[#missing + 1] = channel
  end
end

table.sort(found, function(one, other) return one.sequence < other.sequence end)
local rows, bytes, last = {}, 0, tonumber(upto)
for index, event in ipairs(found) do
  if event.sequence > last then
    break
  end
  if index > limit or bytes > BYTES then
    whole = 0
    break
  end
  rows[#rows + 1] = event.channel
  rows[#rows + 1] = text(event.sequence)
  rows[#rows + 1] = event.body
  rows[#rows + 1] = event.key
  bytes = bytes + #event.body
end
if #rows == 4 * limit then
  whole = 0
end
return {epoch, text(sequence), missing, rows, whole}
