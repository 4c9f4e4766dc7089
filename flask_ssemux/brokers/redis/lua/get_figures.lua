-- What is kept. Returns epoch, sequence, events, channels, places held, and bytes of events.

local AHEAD = 3600  -- seconds for which nobody holds a place: by a clock that was ahead

local now, held = tonumber(redis.call('TIME')[1]), 0
for _, value in ipairs(redis.call('HVALS', base .. 'holders')) do
  local count, till = string.match(value, '^(%d+) (%d+)$')
  if tonumber(till) >= now and tonumber(till) < now + AHEAD then
    held = held + tonumber(count)
  end
end
local kept = tonumber(redis.call('HGET', KEYS[1], 'kept') or 0)
return {epoch, text(sequence), kept, redis.call('ZCARD', base .. 'firsts') + redis.call('ZCARD', base .. 'own:firsts'), held,
  text(tonumber(life.bytes or 0))}
