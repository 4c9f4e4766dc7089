-- What every script begins with: whose life the store is in, and whether it lost some of it.
--
-- KEYS[1]   the hash `life`; all other keys have its beginning
-- ARGV      epoch and newest sequence that the caller knows, a name for a new epoch,
--           seconds and events that history keeps ("" where the caller does not say)
--
-- Leaves: base, own, epoch, sequence, run, voids, life (a table), and the functions below.
--
-- A server that restarts, or a replica that takes over, may have lost its last events, and would
-- give their numbers again. Its run_id tells that it is another; then numbering leaps to the time in
-- microseconds, which it never was at before, and what lies between is void ("low:high"): whoever knows
-- a number of there has seen an event that is no more. If that is a process of ours (the caller), the
-- history begins anew for everyone.

local VOIDS = 20         -- remembered; cursors of before the oldest are below `forgotten`
local FLOORS = 100000    -- floors kept of channels; the lowest go at more

local base = string.sub(KEYS[1], 1, -5)
local own = 5            -- ARGV of a script's own begin after this

local function text(number)
  return string.format('%.0f', number)
end

local function latest_of(channel)
  return base .. 'l:' .. channel
end

local function set(field, value)
  redis.call('HSET', KEYS[1], field, value)
end

local function stream_of(channel)
  return base .. 'c:' .. channel
end

local function run_id()
  local info = redis.pcall('INFO', 'server')  -- where it is forbidden, restarts are not seen
  return type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
end

local life = {}
do
  local names = {'epoch', 'sequence', 'run', 'voids', 'seconds', 'events', 'forgotten', 'at'}
  local values = redis.call('HMGET', KEYS[1], unpack(names))
  for index, name in ipairs(names) do
    life[name] = values[index] or nil
  end
end

local epoch, sequence = life.epoch, tonumber(life.sequence or 0)
local run, voids = run_id(), life.voids or ''

local function forget(place)
  if place > tonumber(life.forgotten or 0) then
    life.forgotten = text(place)
    set('forgotten', life.forgotten)
  end
end

local function begin_anew()
  epoch, voids = ARGV[3], ''
  local place = text(sequence)
  redis.call('HMSET', KEYS[1], 'epoch', epoch, 'sequence', place, 'born', place, 'run', run, 'voids', voids)
end

local function is_void(number)
  for low, high in string.gmatch(voids, '(%d+):(%d+)') do
    if number > tonumber(low) and number < tonumber(high) then
      return true
    end
  end
  return false
end

local function leap()
  local time = redis.call('TIME')
  local high = math.max(sequence + 1, tonumber(time[1]) * 1e6 + tonumber(time[2]))
  local _, count = string.gsub(voids, ' ', ' ')
  if count >= VOIDS then
    forget(tonumber(string.match(voids, '^%d+:(%d+)')))
    voids = string.gsub(voids, '^%d+:%d+ ', '')
  end
  voids = voids .. text(sequence) .. ':' .. text(high) .. ' '
  sequence = high
  redis.call('HMSET', KEYS[1], 'sequence', text(sequence), 'run', run, 'voids', voids)
end

if not epoch then
  -- Streams that are left of a life whose hash alone was lost have numbers that come again.
  for _, channel in ipairs(redis.call('ZRANGE', base .. 'firsts', 0, -1)) do
    redis.call('DEL', stream_of(channel), latest_of(channel))
  end
  redis.call('DEL', base .. 'firsts', base .. 'floors', base .. 'clock')
  begin_anew()
elseif run ~= (life.run or '') then
  leap()
end
if ARGV[1] == epoch and is_void(tonumber(ARGV[2])) then
  begin_anew()
end
if ARGV[4] ~= '' and (ARGV[4] ~= life.seconds or ARGV[5] ~= life.events) then
  life.seconds, life.events = ARGV[4], ARGV[5]
  redis.call('HMSET', KEYS[1], 'seconds', life.seconds, 'events', life.events)
end

-- The place up to which events of a channel may be missing.
local function floor_of(channel)
  return tonumber(redis.call('ZSCORE', base .. 'floors', channel) or life.forgotten or 0)
end

local function set_floor(channel, floor)
  redis.call('ZADD', base .. 'floors', text(floor), channel)
  if redis.call('ZCARD', base .. 'floors') > FLOORS then
    forget(tonumber(redis.call('ZPOPMIN', base .. 'floors', 10)[20] or 0))
  end
end
