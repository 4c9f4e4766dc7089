-- The oldest events of some channels in a range, as of one moment; and channels of which some are no more.
--
-- ARGV     after (its events have been seen), the place behind it, upto, the most events, channels ...
-- returns  epoch, sequence, missing channels, and in one list: the number of the channel, sequence, body ...

local after, first, upto, limit = tonumber(ARGV[own + 1]), ARGV[own + 2], ARGV[own + 3], tonumber(ARGV[own + 4])
local void, missing, found = is_void(after), {}, {}

local function is_before(one, other)
  return one.sequence < other.sequence
end

-- Only the oldest are wanted: what lies behind as many as that need not be read of the channels to come.
local function cut()
  table.sort(found, is_before)
  for index = #found, limit + 1, -1 do
    found[index] = nil
  end
  if #found == limit then
    upto = text(found[limit].sequence)
  end
end

for index = own + 5, #ARGV do
  local channel = ARGV[index]
  local entries = redis.call('XRANGE', stream_of(channel), first, upto, 'COUNT', limit)
  for _, entry in ipairs(entries) do
    found[#found + 1] = {
      channel = index - own - 5, sequence = tonumber(string.match(entry[1], '^%d+')), body = entry[2][2],
    }
  end
  if #found >= 2 * limit then
    cut()
  end
  local kept = redis.call('ZSCORE', base .. 'firsts', channel)
  if kept and #entries == 0 and redis.call('EXISTS', stream_of(channel)) == 0 then  -- the server evicted it
    redis.call('ZREM', base .. 'firsts', channel)
    set_floor(channel, sequence)
  end
  if void or floor_of(channel) > after then
    missing[#missing + 1] = channel
  end
end
cut()

local rows = {}
for _, event in ipairs(found) do
  rows[#rows + 1] = event.channel
  rows[#rows + 1] = text(event.sequence)
  rows[#rows + 1] = event.body
end
return {epoch, text(sequence), missing, rows}
