-- Returns what is kept: epoch, sequence, events, channels, slots that are taken, and bytes of events.

local AHEAD = 3600  -- seconds: no lease lasts so long; a clock was ahead when it was written

local now, held = tonumber(redis.call('TIME')[1]), 0
for _, value in ipairs(redis.call('HVALS', base .. 'holders')) do
  local count, expires = string.match(value, '^(%d+) (%d+)$')
  if tonumber(expires) >= now and tonumber(expires) < now + AHEAD then
    held = held + tonumber(count)
  end
end
local kept = tonumber(redis.call('HGET', KEYS[1], 'kept') or 0)
return {epoch, text(sequence), kept, redis.call('ZCARD', base .. 'firsts') + redis.call('ZCARD', base .. 'own:firsts'), held,
  text(tonumber(state.bytes or 0))}
