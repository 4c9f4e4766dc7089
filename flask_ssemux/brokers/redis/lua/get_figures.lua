-- Returns what is kept: epoch, sequence, events, channels, slots that other processes have taken, and bytes of events.
--
-- ARGV  process

local AHEAD = 3600  -- seconds: no lease lasts so long; a clock was ahead when it was written

local now, held = tonumber(redis.call('TIME')[1]), 0
local holders = redis.call('HGETALL', base .. 'holders')
for index = 1, #holders, 2 do
  local count, expires = string.match(holders[index + 1], '^(%d+) (%d+)$')
  if holders[index] ~= ARGV[own + 1] and tonumber(expires) >= now and tonumber(expires) < now + AHEAD then
    held = held + tonumber(count)
  end
end
local kept = tonumber(redis.call('HGET', KEYS[1], 'kept') or 0)
return {epoch, text(sequence), kept, redis.call('ZCARD', base .. 'firsts') + redis.call('ZCARD', base .. 'own:firsts'), held,
  text(tonumber(state.bytes or 0))}
