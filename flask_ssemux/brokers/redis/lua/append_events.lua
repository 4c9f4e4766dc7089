-- Numbers events, stores them, and announces them: one atomic step. It trims first, so that a full server has room.
--
-- ARGV     the beginning of the names under which they are announced, the calling process, the slot in which the answer
--          is kept, a token of this append, whether to try the user's rights first ('1'); then of each event: channel,
--          body, the key of a latest event ('' for an ordinary event)
-- returns  epoch, sequence of the last event; the others have the sequences before it; and a verdict
--
-- `all_events.lua` or `held_events.lua` stands before it, and says where the events are, and what the verdict is.
--
-- A caller that never got its answer repeats the call with the same slot and token, and gets the same answer.
--
-- Nothing may fail after an event was announced. Missing rights are found before, and if the announcement itself is
-- forbidden, the events are removed again.

local LIVE_SECONDS, LIVE_EVENTS = 5, 500  -- kept for delivery, whatever the limits are
local LASTS = 120000 -- milliseconds for which answers are kept: at least half of it after the last answer
local MARKS = 1000   -- marks of time over the whole history
local STEP = 20      -- events that are trimmed at a time
local OTHERS = 100   -- channels that are searched for such events, on a full server
local MOST = 1000    -- about the maximum number of events that one append deletes because of the byte limit

local announced, caller, slot, token, tries = unpack(ARGV, own + 1, own + 5)
local answers = base .. 'answers:' .. caller

-- The new events; their channels, each once; and how many bytes their bodies have, but for the extension's own channels.
local events, channels, size = {}, {}, 0
do
  local known = {}
  for index = first, #input, 3 do
    local name, body = input[index], input[index + 1]
    local channel = known[name]
    if not channel then
      channel = {name = name, kind = get_kind(name), stream = stream_key(name), added = 0}
      known[name], channels[#channels + 1] = channel, channel
    end
    channel.added = channel.added + 1
    size = size + (channel.kind.is_own and 0 or #body)
    events[#events + 1] = {channel = channel, body = body, key = input[index + 2]}
  end
end

-- Runs each command of this script in a way that changes nothing; returns the first error.
local function try_rights(channel)
  local stream, latest, none = channel.stream, latest_key(channel.name), base .. 'nothing'
  for _, command in ipairs({
    {'DEL', none}, {'XLEN', stream}, {'XRANGE', stream, '-', '+', 'COUNT', 1}, {'XREVRANGE', stream, '+', '-', 'COUNT', 1},
    {'XDEL', stream, '0-1'}, {'XADD', none, '*', 'b', ''}, {'DEL', none}, {'HDEL', latest, ''},
    {'HGET', latest, ''}, {'HSET', none, 'a', ''}, {'HMSET', none, 'a', ''}, {'DEL', none}, {'HGET', answers, ''}, {'HDEL', answers, ''}, {'PEXPIRE', answers, 60000}, {'ZREM', base .. 'firsts', ''},
    {'ZADD', none, 1, 'a'}, {'ZSCORE', none, 'a'}, {'ZCARD', none}, {'ZPOPMIN', none}, {'ZRANGE', none, 0, 0},
    {'ZRANGEBYSCORE', none, 1, 2}, {'ZREM', base .. 'floors', ''}, {'ZREM', base .. 'lasts', ''}, {'DEL', none},
    {'RPUSH', none, 'a'}, {'LINDEX', none, 0}, {'LPOP', none}, {'RPOP', none}, {'DEL', none},
    {'LINDEX', base .. 'clock', 0}, {'LRANGE', base .. 'clock', 0, 1},
  }) do
    local done = redis.pcall(unpack(command))
    if is_error(done) and not string.find(done.err, 'OOM', 1, true) then
      return {err = done.err .. ': ' .. command[1]}
    end
  end
end

local function count_bytes(bytes)
  state.bytes = math.max(0, tonumber(state.bytes or 0) + bytes)
end

local freed = 0  -- bytes of events that were removed

-- Removes these events, and raises the channel's floor over them.
local function remove_events(name, kind, entries)
  local ids, last = {}, 0
  for index, entry in ipairs(entries) do
    ids[index], freed = entry[1], freed + #entry[2][2]
    last = tonumber(string.match(entry[1], '^%d+'))
  end
  allow_writes()
  raise_floor(name, last)
  for _, entry in ipairs(entries) do
    if entry[2][4] then
      redis.call('HDEL', latest_key(name), entry[2][4])
    end
    if not kind.is_own and tonumber(string.match(entry[1], '^%d+')) > tonumber(state.weighed) then
      count_bytes(-#entry[2][2])
    end
  end
  redis.call('XDEL', stream_key(name), unpack(ids))
  state.kept = (state.kept or 0) - #ids
end

-- Writes which event of a channel is its first.
local function list_first(name, kind)
  local first = redis.call('XRANGE', stream_key(name), '-', '+', 'COUNT', 1)[1]
  if first then
    redis.call('ZADD', kind.firsts, string.match(first[1], '^%d+'), name)
  else
    redis.call('ZREM', kind.firsts, name)
    redis.call('DEL', stream_key(name), latest_key(name))
  end
end

-- An earlier version listed the extension's own channels with all others: lists such a channel where it belongs.
local function was_listed_elsewhere(name, kind)
  local right_kind = get_kind(name)
  if right_kind.firsts == kind.firsts then
    return false
  end
  allow_writes()
  redis.call('ZREM', kind.firsts, name)
  list_first(name, right_kind)
  return true
end

-- Removes the oldest events of a channel up to a sequence, a few at a time; returns how many.
local function trim_channel(name, kind, most, upto)
  local entries = redis.call('XRANGE', stream_key(name), '-', upto, 'COUNT', most)
  if #entries > 0 then
    remove_events(name, kind, entries)
  else
    allow_writes()
  end
  list_first(name, kind)
  return #entries
end

-- Adds a mark, the time and sequence of the newest event, to the list `clock`: about a thousand over the whole history.
-- Events up to the sequence of a mark that is too old are too old. Marks of a clock that was ahead count from now on.
local function mark_time(kind)
  local newest, ahead = redis.call('LINDEX', kind.clock, -1), nil
  while newest and tonumber(string.match(newest, '^%d+')) > now do
    ahead = ahead or string.match(newest, '%d+$')
    redis.call('RPOP', kind.clock)
    newest = redis.call('LINDEX', kind.clock, -1)
  end
  if ahead then
    redis.call('RPUSH', kind.clock, text(now) .. ' ' .. ahead)
  elseif sequence > 0 and state.at then
    local marked = newest and tonumber(string.match(newest, '^%d+')) or 0
    if now - marked >= math.max(20, kind.seconds * 1000 / MARKS) then
      allow_writes()
      redis.call('RPUSH', kind.clock, text(math.min(now, tonumber(state.at))) .. ' ' .. text(sequence))
    end
  end
end

local function trim_by_age(kind, seconds)
  local oldest = now - seconds * 1000
  local aged
  for _ = 1, STEP do
    local mark, later = unpack(redis.call('LRANGE', kind.clock, 0, 1))
    if not mark or tonumber(string.match(mark, '^%d+')) > oldest then break end
    aged = string.match(mark, '%d+$')
    if not later or tonumber(string.match(later, '^%d+')) > oldest then break end
    redis.call('LPOP', kind.clock)  -- the newest mark that is old enough stays: it shows which events are too old
  end
  if aged then
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', kind.firsts, '-inf', aged, 'LIMIT', 0, 2)) do
      if not was_listed_elsewhere(name, kind) then
        trim_channel(name, kind, STEP, aged)
      end
    end
  end
end

-- The newest sequence of five to ten seconds ago: younger events are kept for delivery.
local function find_live_start()
  local at, recent, older = string.match(state.live or '0 0 0', '^(%d+) (%d+) (%d+)$')
  if math.abs(now - tonumber(at)) >= LIVE_SECONDS * 1000 then
    older = recent
    state.live = text(now) .. ' ' .. text(sequence) .. ' ' .. older
  end
  return older
end

-- Removes events over the limit of the channel, but for those that delivery needs. If the limit was lowered, it removes
-- a part at a time.
local function trim_by_count(channel)
  local name, kind, length = channel.name, channel.kind, channel.length + channel.added
  local most = 5 * STEP + channel.added - 1
  local excess, older = length - kind.events, find_live_start()
  if excess > 0 and tonumber(redis.call('ZSCORE', kind.firsts, name) or 0) <= tonumber(older) then
    length = length - trim_channel(name, kind, math.min(excess, most), older)
  end
  excess = length - math.max(kind.events, LIVE_EVENTS)
  if excess > 0 then
    trim_channel(name, kind, math.min(excess, most), '+')
  end
end

-- Removes a few events that are over the limit of events, in the channels with the oldest events.
local function trim_other_channels(kind)
  for _, name in ipairs(redis.call('ZRANGE', kind.firsts, 0, OTHERS - 1)) do
    local excess = redis.call('XLEN', stream_key(name)) - kind.events
    if excess > 0 and not was_listed_elsewhere(name, kind) then
      trim_channel(name, kind, math.min(excess, STEP), '+')
      return
    end
  end
end

-- Returns the error of a server at its maxmemory; or nil, if it takes the new events or enough events over a limit could
-- be removed, also of those that are kept for delivery.
local function find_denial(channel)
  local name, kind = channel.name, channel.kind
  local denied = redis.pcall('HSETNX', KEYS[1], 'epoch', epoch)  -- changes nothing; if this is denied, all writes are
  if not is_error(denied) then
    return nil
  end
  if not string.find(denied.err, 'OOM', 1, true) then
    return {err = denied.err .. ': HSETNX'}
  end
  mark_time(kind)
  local before = -1
  while freed < size and freed > before do
    before = freed
    trim_by_age(kind, kind.seconds)
    local excess = redis.call('XLEN', channel.stream) + channel.added - kind.events
    if excess > 0 then
      trim_channel(name, kind, math.min(excess, STEP), '+')
    end
    if freed == math.max(before, 0) then
      trim_other_channels(kind)
    end
  end
  return freed < size and denied or nil
end

-- The oldest events of a channel: as many as have so many bytes together, up to a sequence at most.
local function find_oldest(name, upto, bytes)
  local found = {}
  for _, entry in ipairs(redis.call('XRANGE', stream_key(name), '-', upto, 'COUNT', STEP)) do
    if bytes > 0 then
      found[#found + 1] = entry
      bytes = bytes - #entry[2][2]
    end
  end
  return found
end

-- Removes the oldest events of all channels while there are more bytes than may be kept.
local function trim_by_bytes(kind)
  local most, left = tonumber(state.size or math.huge), MOST
  while not kind.is_own and left > 0 and tonumber(state.bytes or 0) + size > most do
    local oldest = redis.call('ZRANGE', kind.firsts, 0, 1, 'WITHSCORES')
    if not oldest[1] then
      state.bytes, left = 0, 0  -- only the new events are left, or events that an earlier version did not count
    elseif not was_listed_elsewhere(oldest[1], kind) then
      local upto = oldest[4] and text(tonumber(oldest[4]) - 1) or '+'
      local gone = find_oldest(oldest[1], upto, tonumber(state.bytes) + size - most)
      allow_writes()
      if #gone > 0 then
        remove_events(oldest[1], kind, gone)
      end
      list_first(oldest[1], kind)
      left = left - math.max(1, #gone)
    end
  end
end

-- Adds an event to its stream; returns the error, or nil.
local function add_event(event)
  local stream, number, fields = event.channel.stream, event.number, {'b', event.body}
  if event.key ~= '' then
    fields = {'b', event.body, 'l', event.key}
  end
  local added = redis.pcall('XADD', stream, number, unpack(fields))
  if is_error(added) and string.find(added.err, 'equal or smaller', 1, true) then
    redis.call('DEL', stream, latest_key(event.channel.name))  -- of another epoch, whose events are never read again
    redis.call('ZADD', event.channel.kind.firsts, number, event.channel.name)
    added = redis.pcall('XADD', stream, number, unpack(fields))
  end
  return is_error(added) and added or nil
end

-- Announces the events; returns the error, or nil. If it is forbidden for one channel only, this shows before the first
-- event is announced: receivers ignore an announcement of the sequence 0.
local function announce_events()
  local mark = get_mark()
  for index = 2, #channels do
    local sent = redis.pcall('PUBLISH', announced .. channels[index].name, mark .. ' 0 \n')
    if is_error(sent) then
      return {err = sent.err .. ': PUBLISH'}
    end
  end
  for _, event in ipairs(events) do
    local message = mark .. ' ' .. event.number .. ' ' .. event.key .. '\n' .. event.body
    local sent = redis.pcall('PUBLISH', announced .. event.channel.name, message)
    if is_error(sent) then
      return {err = sent.err .. ': PUBLISH'}
    end
  end
end

-- Removes the event of this channel and key that the new event replaces. It is no gap: the floor stays. `firsts` may
-- still name it: then trimming by age searches once in vain, and writes the oldest event that is there.
local function replace_latest(event)
  local channel, latest = event.channel, latest_key(event.channel.name)
  local before = redis.call('HGET', latest, event.key)
  redis.call('HSET', latest, event.key, event.number)
  local entry = before and redis.call('XRANGE', channel.stream, before .. '-0', before .. '-0')[1]
  if entry then
    redis.call('XDEL', channel.stream, entry[1])
    state.kept = state.kept - 1
    if not channel.kind.is_own and tonumber(before) > tonumber(state.weighed) then
      count_bytes(-#entry[2][2])
    end
  end
end

-- Writes the state.
local function save_state(...)
  redis.call('HMSET', KEYS[1], 'bytes', text(tonumber(state.bytes or 0)), 'kept', text(tonumber(state.kept or 0)), ...)
end

-- Removes the first events again, as many as were added. Their numbers cannot be given again in their streams.
local function remove_added(count)
  for index = 1, count do
    local event = events[index]
    redis.call('XDEL', event.channel.stream, event.number .. '-0')
    list_first(event.channel.name, event.channel.kind)
  end
  if count > 0 then
    save_state('sequence', events[count].number, 'listed', events[count].number)
  end
end

if refused then
  return refused
end
local missing = tries == '1' and channels[1] and try_rights(channels[1])
if missing then
  return missing
end
local answered = redis.call('HGET', answers, slot)
local known_token, known_epoch, known_sequence, answered_at, known_verdict =
  string.match(answered or '', '^(%d+) (%S+) (%d+) (%d+) (.*)$')
if known_token == token and known_epoch == epoch then
  return {epoch, known_sequence, known_verdict}
end
if #events == 0 then
  return {epoch, text(sequence), verdict}
end

-- Make room. Channels of the application and of the extension itself are not appended to together.
local counted = state.kept
state.weighed = state.weighed or text(sequence)  -- an earlier version counted no bytes
local denied
if channels[1].kind.is_own then
  allow_writes()  -- revocation messages are few, and must not wait
else
  denied = find_denial(channels[1])
end
for index, channel in ipairs(channels) do
  channel.length = redis.call('XLEN', channel.stream)
  if index == 1 then
    mark_time(channel.kind)
    trim_by_age(channel.kind, math.max(LIVE_SECONDS, channel.kind.seconds))
    trim_by_bytes(channel.kind)
  end
  trim_by_count(channel)
end
if denied and freed < size then
  if state.kept ~= counted then
    save_state('weighed', state.weighed)
  end
  return denied
end

-- Add the events to their streams.
local before = text(sequence)
if state.listed ~= before then  -- an earlier version does not list the newest event of each channel
  set_state('unlisted', before, 'weighed', state.weighed)
end
for _, channel in ipairs(channels) do
  if state.kept ~= counted then
    channel.length = redis.call('XLEN', channel.stream)
  end
  -- A channel with events is listed.
  channel.is_listed = channel.length > 0 or redis.call('ZSCORE', channel.kind.firsts, channel.name)
  channel.was_evicted = channel.is_listed and channel.length == 0
end
for index, event in ipairs(events) do
  event.number = text(sequence + index)
  local trouble = add_event(event)
  if trouble then
    if state.kept ~= counted then
      save_state('weighed', state.weighed)
    end
    remove_added(index - 1)
    return trouble
  end
end
sequence = sequence + #events
local number = text(sequence)

-- Announce them. From here on nothing can fail.
local forbidden = announce_events()
if forbidden then
  remove_added(#events)
  return forbidden
end

-- List them.
for _, event in ipairs(events) do
  local channel = event.channel
  if not channel.kind.is_own then
    count_bytes(#event.body)
  end
  if not channel.is_listed or channel.was_evicted then
    redis.call('ZADD', channel.kind.firsts, event.number, channel.name)
    if channel.was_evicted then
      raise_floor(channel.name, tonumber(before))
    end
    channel.is_listed, channel.was_evicted = true, false
  end
  redis.call('ZADD', base .. 'lasts', event.number, channel.name)
  state.kept = (state.kept or 0) + 1
  if event.key ~= '' then
    replace_latest(event)
  end
end
save_state('sequence', number, 'listed', number, 'at', text(now), 'live', state.live or '0 0 0')
finish()
if not known_token or tonumber(known_token) < tonumber(token) then
  redis.call('HSET', answers, slot, token .. ' ' .. epoch .. ' ' .. number .. ' ' .. text(now) .. ' ' .. verdict)
  if not answered_at or math.abs(now - tonumber(answered_at)) > LASTS / 4 then
    redis.call('PEXPIRE', answers, LASTS)
  end
end
return {epoch, number, verdict}
