-- Returns the processes that have slots under a key, the one with the oldest slot first; processes that did not
-- announce it come before all others.
--
-- ARGV     key
-- returns  epoch, sequence, processes

local key = ARGV[own + 1]
local now = tonumber(redis.call('TIME')[1])
local held, holders, since = redis.call('HGETALL', base .. 'h:' .. key), {}, {}
for index = 1, #held, 2 do
  local count, expires = string.match(held[index + 1], '^(%d+) (%d+)$')
  if tonumber(expires) >= now and count ~= '0' then
    holders[#holders + 1] = held[index]
    since[held[index]] = tonumber(redis.call('HGET', base .. 'o:' .. key, held[index]) or 0)
  end
end
table.sort(holders, function(one, other) return since[one] < since[other] end)
return {epoch, text(sequence), holders}
