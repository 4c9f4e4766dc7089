-- Takes a slot, of those that all processes share under a key: a hash, process -> "slots until".
--
-- ARGV     key, process, slots that the process then has under the key, and under all keys; the limit of all processes,
--          seconds that a lease lasts
-- returns  epoch, sequence, whether the slot was taken, and the processes that have slots if it was not

local key, holder, slots, total, limit, lasts = unpack(ARGV, own + 1, own + 6)
local hash = base .. 'h:' .. key
local now = tonumber(redis.call('TIME')[1])
local taken, holders = 0, {}

allow_writes()
local held = redis.call('HGETALL', hash)
for index = 1, #held, 2 do
  local count, expires = string.match(held[index + 1], '^(%d+) (%d+)$')
  if tonumber(expires) > now + 2 * lasts then  -- the clock was ahead when it was written
    redis.call('HSET', hash, held[index], count .. ' ' .. text(now + lasts))
  end
  if tonumber(expires) < now then
    redis.call('HDEL', hash, held[index])
  elseif held[index] ~= holder then
    taken = taken + tonumber(count)
    holders[#holders + 1] = held[index]
  end
end
if taken + tonumber(slots) > tonumber(limit) then
  return {epoch, text(sequence), 0, holders}
end
redis.call('HSET', hash, holder, slots .. ' ' .. text(now + lasts))
redis.call('HSET', base .. 'holders', holder, total .. ' ' .. text(now + lasts))
redis.call('EXPIRE', hash, 2 * lasts)
return {epoch, text(sequence), 1, {}}
