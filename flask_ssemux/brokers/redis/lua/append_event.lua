-- Numbers an event, stores it, and announces it: one atomic step. Frees before, so that a full server is one no more.
--
-- ARGV  channel, body, where it is announced, the caller's name, which of its answers this will be (a slot), a token of
--       this append, whether the user's rights are to be tried first ('1'), and the key of an event that takes the
--       place of the one with it before; '' for those that are kept beside others
--
-- A caller that never got its answer asks again with the same slot and token, and gets the same answer.
--
-- Nothing may fail after the event was announced. What a user has no right to is found before, and if the announcement
-- itself is forbidden, what was stored is taken back.

local LIVE_SECONDS, LIVE_EVENTS = 5, 500  -- kept for delivery, whatever the limits say
local LASTS = 120000 -- milliseconds for which answers are kept, at least a half of it after the last
local MARKS = 1000   -- in the span of the history
local STEP = 20      -- events that are trimmed at a time
local OTHERS = 100   -- channels that are looked at for such events, on a full server
local MOST = 1000    -- events that are trimmed for their bytes, in one append

local channel, body, announced, caller, slot, token, tries, key = unpack(ARGV, own + 1, own + 8)
local answers = base .. 'answers:' .. caller

-- Each command of this script, so that it changes nothing.
local function try_rights()
  local stream, none = stream_of(channel), base .. 'nothing'
  for _, command in ipairs({
    {'DEL', none}, {'XLEN', stream}, {'XRANGE', stream, '-', '+', 'COUNT', 1}, {'XREVRANGE', stream, '+', '-', 'COUNT', 1},
    {'XDEL', stream, '0-1'}, {'XADD', none, '*', 'b', ''}, {'DEL', none}, {'HDEL', latest_of(channel), ''},
    {'HGET', latest_of(channel), ''}, {'HSET', none, 'a', ''}, {'HMSET', none, 'a', ''}, {'DEL', none}, {'HGET', answers, ''}, {'HDEL', answers, ''}, {'PEXPIRE', answers, 60000}, {'ZREM', base .. 'firsts', ''},
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

local function weigh(bytes)
  life.bytes = math.max(0, tonumber(life.bytes or 0) + bytes)
end

local freed = 0  -- bytes of events that were taken away

-- Takes these events away: for good, so below the channel's floor.
local function remove(name, kind, entries)
  local ids, last = {}, 0
  for index, entry in ipairs(entries) do
    ids[index], freed = entry[1], freed + #entry[2][2]
    last = tonumber(string.match(entry[1], '^%d+'))
  end
  make_way()
  set_floor(name, last)
  for _, entry in ipairs(entries) do
    if entry[2][4] then
      redis.call('HDEL', latest_of(name), entry[2][4])
    end
    if not kind.is_own and tonumber(string.match(entry[1], '^%d+')) > tonumber(life.weighed) then
      weigh(-#entry[2][2])
    end
  end
  redis.call('XDEL', stream_of(name), unpack(ids))
  life.kept = (life.kept or 0) - #ids
end

-- Says anew which event of a channel is its first.
local function list_first(name, kind)
  local first = redis.call('XRANGE', stream_of(name), '-', '+', 'COUNT', 1)[1]
  if first then
    redis.call('ZADD', kind.firsts, string.match(first[1], '^%d+'), name)
  else
    redis.call('ZREM', kind.firsts, name)
    redis.call('DEL', stream_of(name), latest_of(name))
  end
end

-- An earlier version listed the extension's own channels among all others.
local function is_elsewhere(name, kind)
  local rightly = kind_of(name)
  if rightly.firsts == kind.firsts then
    return false
  end
  make_way()
  redis.call('ZREM', kind.firsts, name)
  list_first(name, rightly)
  return true
end

-- Drops the oldest events of a channel up to a place, a few at a time. How many there were.
local function drop(name, kind, most, upto)
  local entries = redis.call('XRANGE', stream_of(name), '-', upto, 'COUNT', most)
  if #entries > 0 then
    remove(name, kind, entries)
  else
    make_way()
  end
  list_first(name, kind)
  return #entries
end

-- The list `clock` has, about a thousand times in the span of the history, the time and number of an event; what is
-- at or below a number whose time is over is too old. Marks of a clock that was ahead count from now on.
local function mark_time(kind)
  local newest, ahead = redis.call('LINDEX', kind.clock, -1), nil
  while newest and tonumber(string.match(newest, '^%d+')) > now do
    ahead = ahead or string.match(newest, '%d+$')
    redis.call('RPOP', kind.clock)
    newest = redis.call('LINDEX', kind.clock, -1)
  end
  if ahead then
    redis.call('RPUSH', kind.clock, text(now) .. ' ' .. ahead)
  elseif sequence > 0 and life.at then
    local marked = newest and tonumber(string.match(newest, '^%d+')) or 0
    if now - marked >= math.max(20, kind.seconds * 1000 / MARKS) then
      make_way()
      redis.call('RPUSH', kind.clock, text(math.min(now, tonumber(life.at))) .. ' ' .. text(sequence))
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
    redis.call('LPOP', kind.clock)  -- the newest of those that are old enough stays: it says what is too old
  end
  if aged then
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', kind.firsts, '-inf', aged, 'LIMIT', 0, 2)) do
      if not is_elsewhere(name, kind) then
        drop(name, kind, STEP, aged)
      end
    end
  end
end

-- What was newest five to ten seconds ago: what is younger is kept for delivery.
local function live_since()
  local at, place, older = string.match(life.live or '0 0 0', '^(%d+) (%d+) (%d+)$')
  if math.abs(now - tonumber(at)) >= LIVE_SECONDS * 1000 then
    older = place
    life.live = text(now) .. ' ' .. text(sequence) .. ' ' .. older
  end
  return older
end

-- More than may be kept, and more than delivery needs. Of a history that was made shorter, a part at a time.
local function trim_by_count(kind, length)
  local excess, older = length + 1 - kind.events, live_since()
  if excess > 0 and tonumber(redis.call('ZSCORE', kind.firsts, channel) or 0) <= tonumber(older) then
    local dropped = drop(channel, kind, math.min(excess, 5 * STEP), older)
    length = length - dropped
  end
  excess = length + 1 - math.max(kind.events, LIVE_EVENTS)
  if excess > 0 then
    drop(channel, kind, math.min(excess, 5 * STEP), '+')
  end
end

-- Drops what is over the limit of events in the channels with the oldest ones, a few at a time.
local function free_others(kind)
  for _, name in ipairs(redis.call('ZRANGE', kind.firsts, 0, OTHERS - 1)) do
    local excess = redis.call('XLEN', stream_of(name)) - kind.events
    if excess > 0 and not is_elsewhere(name, kind) then
      drop(name, kind, math.min(excess, STEP), '+')
      return
    end
  end
end

-- Why a server at its maxmemory denies this event, unless events that are over a limit make room for it: those that
-- are kept for delivery, too. nil: it does not.
local function deny(kind)
  local denied = redis.pcall('HSETNX', KEYS[1], 'epoch', epoch)  -- changes nothing; what it is denied, all is
  if not is_error(denied) then
    return nil
  end
  if not string.find(denied.err, 'OOM', 1, true) then
    return {err = denied.err .. ': HSETNX'}
  end
  mark_time(kind)
  local before = -1
  while freed < #body and freed > before do
    before = freed
    trim_by_age(kind, kind.seconds)
    local excess = redis.call('XLEN', stream_of(channel)) + 1 - kind.events
    if excess > 0 then
      drop(channel, kind, math.min(excess, STEP), '+')
    end
    if freed == math.max(before, 0) then
      free_others(kind)
    end
  end
  return freed < #body and denied or nil
end

-- The oldest events of a channel: as many as have so many bytes, and at most up to a place.
local function oldest_of(name, upto, bytes)
  local found = {}
  for _, entry in ipairs(redis.call('XRANGE', stream_of(name), '-', upto, 'COUNT', STEP)) do
    if bytes > 0 then
      found[#found + 1] = entry
      bytes = bytes - #entry[2][2]
    end
  end
  return found
end

-- The oldest events of all, while there are more bytes than may be kept.
local function trim_by_bytes(kind)
  local size, left = tonumber(life.size or math.huge), MOST
  while not kind.is_own and left > 0 and tonumber(life.bytes or 0) + #body > size do
    local oldest = redis.call('ZRANGE', kind.firsts, 0, 1, 'WITHSCORES')
    if not oldest[1] then
      life.bytes, left = 0, 0  -- all that is left is the event itself, or what an earlier version added uncounted
    elseif not is_elsewhere(oldest[1], kind) then
      local upto = oldest[4] and text(tonumber(oldest[4]) - 1) or '+'
      local gone = oldest_of(oldest[1], upto, tonumber(life.bytes) + #body - size)
      make_way()
      if #gone > 0 then
        remove(oldest[1], kind, gone)
      end
      list_first(oldest[1], kind)
      left = left - math.max(1, #gone)
    end
  end
end

-- Adds the event to its stream. Why it cannot, or nil.
local function add(stream, number)
  local fields = {'b', body}
  if key ~= '' then
    fields = {'b', body, 'l', key}
  end
  local added = redis.pcall('XADD', stream, number, unpack(fields))
  if is_error(added) and string.find(added.err, 'equal or smaller', 1, true) then
    redis.call('DEL', stream, latest_of(channel))  -- of another life, which nobody can ask for any more
    redis.call('ZADD', kind_of(channel).firsts, number, channel)
    added = redis.pcall('XADD', stream, number, unpack(fields))
  end
  return is_error(added) and added or nil
end

-- Drops the event of this channel and key that the new one takes the place of. It is not missing: no floor.
-- `firsts` may still name it: then trimming by age looks once in vain, and finds the oldest that is there.
local function supersede(kind, number)
  local before = redis.call('HGET', latest_of(channel), key)
  redis.call('HSET', latest_of(channel), key, number)
  local entry = before and redis.call('XRANGE', stream_of(channel), before .. '-0', before .. '-0')[1]
  if entry then
    redis.call('XDEL', stream_of(channel), entry[1])
    life.kept = life.kept - 1
    if not kind.is_own and tonumber(before) > tonumber(life.weighed) then
      weigh(-#entry[2][2])
    end
  end
end

-- What `life` knows now.
local function keep(...)
  redis.call('HMSET', KEYS[1], 'bytes', text(tonumber(life.bytes or 0)), 'kept', text(tonumber(life.kept or 0)), ...)
end

if refused then
  return refused
end
local missing = tries == '1' and try_rights()
if missing then
  return missing
end
local answered = redis.call('HGET', answers, slot)
local known_token, known_epoch, known_sequence, answered_at = string.match(answered or '', '^(%d+) (%S+) (%d+) (%d+)$')
if known_token == token and known_epoch == epoch then
  return {epoch, known_sequence}
end
local kind = kind_of(channel)
local stream, counted = stream_of(channel), life.kept
life.weighed = life.weighed or text(sequence)  -- by an earlier version no bytes were counted
local denied
if kind.is_own then
  make_way()  -- orders are few, and let nobody wait
else
  denied = deny(kind)
end
local length = redis.call('XLEN', stream)
mark_time(kind)
trim_by_age(kind, math.max(LIVE_SECONDS, kind.seconds))
trim_by_bytes(kind)
trim_by_count(kind, length)

if denied and freed < #body then
  if life.kept ~= counted then
    keep('weighed', life.weighed)
  end
  return denied
end

local before = text(sequence)
if life.listed ~= before then  -- an earlier version does not list what is newest in each channel
  set('unlisted', before, 'weighed', life.weighed)
end
if life.kept ~= counted then
  length = redis.call('XLEN', stream)
end
local first = length > 0 or redis.call('ZSCORE', kind.firsts, channel)  -- what has events is listed
local was_evicted = first and length == 0
sequence = sequence + 1
local number = text(sequence)
local trouble = add(stream, number)
if trouble then
  if life.kept ~= counted then
    keep('weighed', life.weighed)
  end
  return trouble
end
local told = redis.pcall('PUBLISH', announced .. channel, epoch .. ' ' .. number .. ' ' .. key .. '\n' .. body)
if is_error(told) then
  redis.call('XDEL', stream, number .. '-0')
  list_first(channel, kind)
  keep('sequence', number, 'listed', number)
  return {err = told.err .. ': PUBLISH'}
end
if not kind.is_own then
  weigh(#body)
end
if not first or was_evicted then
  redis.call('ZADD', kind.firsts, number, channel)
end
if was_evicted then
  set_floor(channel, tonumber(before))
end
redis.call('ZADD', base .. 'lasts', number, channel)
life.kept = (life.kept or 0) + 1
if key ~= '' then
  supersede(kind, number)
end
keep('sequence', number, 'listed', number, 'at', text(now), 'live', life.live or '0 0 0')
if not known_token or tonumber(known_token) < tonumber(token) then
  redis.call('HSET', answers, slot, token .. ' ' .. epoch .. ' ' .. number .. ' ' .. text(now))
  if not answered_at or math.abs(now - tonumber(answered_at)) > LASTS / 4 then
    redis.call('PEXPIRE', answers, LASTS)
  end
end
return {epoch, number}
