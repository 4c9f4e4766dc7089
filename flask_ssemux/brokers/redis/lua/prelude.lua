-- What every script begins with: whose life the store is in, and whether it lost some of it.
--
-- KEYS[1]   the hash `life`; all other keys have its beginning
-- ARGV      epoch and newest sequence that the caller knows, a name for a new epoch,
--           seconds, events and bytes that history keeps ("" where the caller does not say)
--
-- Leaves: base, own, epoch, sequence, run, voids, now (ms), life (a table), refused, and the functions below.
--
-- A server that restarts, or a replica that takes over, may have lost its last events, and would
-- give their numbers again. Its run_id tells that it is another; then numbering leaps to the time in
-- microseconds, which it never was at before, and what lies between is void ("low:high"): whoever knows
-- a number of there has seen an event that is no more. If that is a process of ours (the caller), the
-- history begins anew for everyone. So it does where the caller knows a number that was not given yet, and where
-- the clock is behind, so that a leap would be none.
--
-- A server that takes no writes still answers what only reads: what life has to write then waits.

local VOIDS = 20         -- remembered; cursors of before the oldest are below `forgotten`
local FLOORS = 100000    -- floors kept of channels; the lowest go at more
local OWN_PREFIX = 'ssemux.'
local OWN_EVENTS, OWN_SECONDS = 10000, 3600  -- the least that is kept of the extension's own channels
local LEAP = 3600e6      -- microseconds that a leap must be long at least, if the clock is behind

local base = string.sub(KEYS[1], 1, -5)
local own = 6            -- ARGV of a script's own begin after this

local function text(number)
  return string.format('%.0f', number)
end

local function latest_of(channel)
  return base .. 'l:' .. channel
end

local function stream_of(channel)
  return base .. 'c:' .. channel
end

local function is_error(answer)
  return type(answer) == 'table' and answer.err
end

-- A server at its maxmemory denies a script's writes, but not those after one that may free. For writes that are
-- small, or free more than they take.
local function make_way()
  redis.pcall('DEL', base .. 'nothing')
end

local refused  -- why the server did not take what life had to write

local function set(...)
  make_way()
  local done = redis.pcall('HMSET', KEYS[1], ...)
  refused = is_error(done) and done or refused
  return not is_error(done)
end

local function run_id()
  local info = redis.pcall('INFO', 'server')  -- where it is forbidden, restarts are not seen
  return type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
end

local life = {}
do
  local names = {'epoch', 'sequence', 'run', 'voids', 'seconds', 'events', 'size', 'forgotten', 'at', 'bytes', 'weighed',
    'listed', 'unlisted', 'live', 'kept'}
  local values = redis.pcall('HMGET', KEYS[1], unpack(names))
  if is_error(values) then
    return {err = values.err .. ': HMGET'}
  end
  for index, name in ipairs(names) do
    life[name] = values[index] or nil
  end
end

local time = redis.pcall('TIME')
if is_error(time) then
  return {err = time.err .. ': TIME'}
end
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local epoch, sequence = life.epoch, tonumber(life.sequence or 0)
local run, voids = run_id(), life.voids or ''

local function forget(place)
  if place > tonumber(life.forgotten or 0) then
    life.forgotten = text(place)
    set('forgotten', life.forgotten)
  end
end

local function begin_anew()
  local place = text(sequence)
  if set('epoch', ARGV[3], 'sequence', place, 'born', place, 'run', run, 'voids', '') then
    epoch, voids = ARGV[3], ''
  end
end

local function is_void(number)
  for low, high in string.gmatch(voids, '(%d+):(%d+)') do
    if number > tonumber(low) and number < tonumber(high) then
      return true
    end
  end
  return false
end

local function leap_to(high)
  local left, _, count = voids, string.gsub(voids, ' ', ' ')
  if count >= VOIDS then
    forget(tonumber(string.match(voids, '^%d+:(%d+)')))
    left = string.gsub(voids, '^%d+:%d+ ', '')
  end
  left = left .. text(sequence) .. ':' .. text(high) .. ' '
  local listed = life.listed == text(sequence) and text(high) or life.listed or '0'
  if set('sequence', text(high), 'run', run, 'voids', left, 'listed', listed) then
    sequence, voids, life.listed = high, left, listed
  end
end

-- The clock is behind if it was later when the newest event came; numbers may have been given since then.
local function leap()
  local high = tonumber(time[1]) * 1e6 + tonumber(time[2])
  local is_behind = now < tonumber(life.at or 0)
  if high <= sequence or is_behind and high - sequence < LEAP then
    begin_anew()
  else
    leap_to(high)
  end
end

if not epoch then
  -- Streams that are left of a life whose hash alone was lost have numbers that come again.
  for _, list in ipairs({'firsts', 'own:firsts'}) do
    for _, channel in ipairs(redis.call('ZRANGE', base .. list, 0, -1)) do
      redis.call('DEL', stream_of(channel), latest_of(channel))
    end
  end
  redis.call('DEL', base .. 'firsts', base .. 'own:firsts', base .. 'floors', base .. 'lasts')
  redis.call('DEL', base .. 'clock', base .. 'own:clock')
  begin_anew()
  if not epoch then
    return refused
  end
elseif run ~= '' and run ~= (life.run or '') then
  if (life.run or '') == '' then
    set('run', run)  -- nobody could tell before
  else
    leap()
  end
end
if ARGV[1] == epoch and not refused then
  local known = tonumber(ARGV[2])
  if is_void(known) or known > sequence then
    sequence = math.max(sequence, known)
    begin_anew()
  end
end
if ARGV[4] ~= '' and (ARGV[4] ~= life.seconds or ARGV[5] ~= life.events or ARGV[6] ~= life.size) then
  life.seconds, life.events, life.size = ARGV[4], ARGV[5], ARGV[6]
  local before = refused
  set('seconds', life.seconds, 'events', life.events, 'size', life.size)
  refused = before  -- the next script says it again
end

-- What limits a channel's history, and where its kind is listed: the extension's own channels have their own.
local function kind_of(channel)
  local seconds, events = tonumber(life.seconds or 3600), tonumber(life.events or 10000)
  if string.sub(channel, 1, #OWN_PREFIX) == OWN_PREFIX then
    return {seconds = math.max(seconds, OWN_SECONDS), events = OWN_EVENTS, clock = base .. 'own:clock',
      firsts = base .. 'own:firsts', is_own = true}
  end
  return {seconds = seconds, events = events, clock = base .. 'clock', firsts = base .. 'firsts'}
end

-- The place up to which events of a channel were trimmed.
local function trimmed_of(channel)
  return tonumber(redis.call('ZSCORE', base .. 'floors', channel) or life.forgotten or 0)
end

local function set_floor(channel, floor)
  if floor <= trimmed_of(channel) then
    return
  end
  redis.call('ZADD', base .. 'floors', text(floor), channel)
  if redis.call('ZCARD', base .. 'floors') > FLOORS then
    forget(tonumber(redis.call('ZPOPMIN', base .. 'floors', 10)[20] or 0))
  end
end
