-- Places that all processes share under a key: a hash, holder -> "places until".
--
-- ARGV     key, holder, places that the holder has then, under all keys too, the most of all holders,
--          seconds that a hold lasts
-- returns  epoch, sequence, whether they were taken, and the holders if they were not

local key, holder, places, total, most, lasts = unpack(ARGV, own + 1, own + 6)
local hash = base .. 'h:' .. key
local now = tonumber(redis.call('TIME')[1])
local taken, holders = 0, {}

make_way()
local held = redis.call('HGETALL', hash)
for index = 1, #held, 2 do
  local count, till = string.match(held[index + 1], '^(%d+) (%d+)$')
  if tonumber(till) > now + 2 * lasts then  -- by a clock that was ahead
    redis.call('HSET', hash, held[index], count .. ' ' .. text(now + lasts))
  end
  if tonumber(till) < now then
    redis.call('HDEL', hash, held[index])
  elseif held[index] ~= holder then
    taken = taken + tonumber(count)
    holders[#holders + 1] = held[index]
  end
end
if taken + tonumber(places) > tonumber(most) then
  return {epoch, text(sequence), 0, holders}
end
redis.call('HSET', hash, holder, places .. ' ' .. text(now + lasts))
redis.call('HSET', base .. 'holders', holder, total .. ' ' .. text(now + lasts))
redis.call('EXPIRE', hash, 2 * lasts)
return {epoch, text(sequence), 1, {}}
