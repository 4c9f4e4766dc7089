-- Numbers an event, stores it, trims a little, and announces it: one atomic step.
--
-- ARGV  channel, body, where it is announced, the caller's name, a token of this append, and the key of an event
--       that takes the place of the one with it before; '' for those that are kept beside others
--
-- A caller that never got its answer asks again with the same token, and gets the same answer.

local channel, body, announced, caller, token, key = unpack(ARGV, own + 1, own + 6)
local seconds, events = tonumber(life.seconds or 3600), tonumber(life.events or 10000)

local answered = redis.call('GET', base .. 'answer:' .. caller)
if answered then
  local known_token, known_epoch, known_sequence = string.match(answered, '^(%S+) (%S+) (%S+)$')
  if known_token == token and known_epoch == epoch then
    return {epoch, known_sequence}
  end
end

-- Drops the oldest events of a channel up to a place, a few at a time.
local function drop(name, most, upto)
  local stream = stream_of(name)
  local entries = redis.call('XRANGE', stream, '-', upto, 'COUNT', most)
  if #entries > 0 then
    local ids = {}
    for index, entry in ipairs(entries) do
      ids[index] = entry[1]
      if entry[2][4] then
        redis.call('HDEL', latest_of(name), entry[2][4])
      end
    end
    redis.call('XDEL', stream, unpack(ids))
    redis.call('HINCRBY', KEYS[1], 'kept', -#ids)
    set_floor(name, tonumber(string.match(ids[#ids], '^%d+')))
  end
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if first then
    redis.call('ZADD', base .. 'firsts', string.match(first[1], '^%d+'), name)
  else
    redis.call('ZREM', base .. 'firsts', name)
    redis.call('DEL', stream)
  end
end

-- Drops the event of this channel and key that the new one takes the place of. It is not missing: no floor.
-- `firsts` may still name it: then trimming by age looks once in vain, and finds the oldest that is there.
local function supersede(number)
  local before = redis.call('HGET', latest_of(channel), key)
  redis.call('HSET', latest_of(channel), key, number)
  if before and redis.call('XDEL', stream_of(channel), before .. '-0') == 1 then
    redis.call('HINCRBY', KEYS[1], 'kept', -1)
  end
end

-- By age: the list `clock` has, about a thousand times in the span of the history, the time and
-- number of an event; what is at or below a number whose time is over is too old.
local function trim_by_age(now)
  local clock = base .. 'clock'
  local newest = redis.call('LINDEX', clock, -1)
  local marked = newest and tonumber(string.match(newest, '^%d+')) or 0
  if sequence > 0 and life.at and now - marked >= math.max(1000, seconds) then
    redis.call('RPUSH', clock, life.at .. ' ' .. text(sequence))
  end
  local oldest = now - seconds * 1000
  for _ = 1, 10 do
    local mark = redis.call('LINDEX', clock, 0)
    if not mark or tonumber(string.match(mark, '^%d+')) > oldest then break end
    redis.call('LPOP', clock)
    life.aged = string.match(mark, '%d+$')
    set('aged', life.aged)
  end
  local aged = life.aged or redis.call('HGET', KEYS[1], 'aged')
  if aged then
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', base .. 'firsts', '-inf', aged, 'LIMIT', 0, 2)) do
      drop(name, 10, aged)
    end
  end
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
trim_by_age(now)

sequence = sequence + 1
local number, stream = text(sequence), stream_of(channel)
local fields = {'b', body}
if key ~= '' then
  fields = {'b', body, 'l', key}
end
local added = redis.pcall('XADD', stream, number, unpack(fields))
if type(added) == 'table' and added.err then
  if not string.find(added.err, 'equal or smaller', 1, true) then
    return added
  end
  redis.call('DEL', stream, latest_of(channel))  -- of another life, which nobody can ask for any more
  redis.call('XADD', stream, number, unpack(fields))
end
redis.call('HMSET', KEYS[1], 'sequence', number, 'at', text(now))
redis.call('HINCRBY', KEYS[1], 'kept', 1)
local length, first = redis.call('XLEN', stream), redis.call('ZSCORE', base .. 'firsts', channel)
if not first or length == 1 then
  redis.call('ZADD', base .. 'firsts', number, channel)
  if first then  -- it had events, and the server evicted them
    set_floor(channel, sequence - 1)
  end
end
if key ~= '' then
  supersede(number)
  length = redis.call('XLEN', stream)
end
local excess = length - events
if excess > 0 then
  drop(channel, math.min(excess, 10), '+')
end
redis.call('SET', base .. 'answer:' .. caller, token .. ' ' .. epoch .. ' ' .. number, 'PX', 60000)
redis.call('PUBLISH', announced .. channel, epoch .. ' ' .. number .. ' ' .. key .. '\n' .. body)
return {epoch, number}
