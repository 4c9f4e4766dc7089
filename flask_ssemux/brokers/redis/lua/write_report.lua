-- Keeps what a process says of itself; and forgets those that said nothing for too long.
--
-- ARGV  holder, seconds that a report lasts, its figures; none: it is no more

local holder, lasts, figures = ARGV[own + 1], tonumber(ARGV[own + 2]), ARGV[own + 3]
local reports = base .. 'reports'
local now = tonumber(redis.call('TIME')[1])

make_way()
local told = redis.call('HGETALL', reports)
for index = 1, #told, 2 do
  local at = tonumber(string.match(told[index + 1], '^%d+'))
  if at < now - lasts or at > now + lasts then  -- or by a clock that was ahead: who lives says it anew
    redis.call('HDEL', reports, told[index])
  end
end
if figures == '' then
  redis.call('HDEL', reports, holder)
else
  redis.call('HSET', reports, holder, text(now) .. ' ' .. figures)
  redis.call('EXPIRE', reports, 2 * lasts)
end
return {epoch, text(sequence)}
