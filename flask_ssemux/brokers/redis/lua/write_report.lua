-- Writes the report of a worker; and removes reports that expired.
--
-- ARGV  process, seconds that a report lasts, figures ("": remove its report)

local holder, lasts, figures = ARGV[own + 1], tonumber(ARGV[own + 2]), ARGV[own + 3]
local reports = base .. 'reports'
local now = tonumber(redis.call('TIME')[1])

allow_writes()
local stored = redis.call('HGETALL', reports)
for index = 1, #stored, 2 do
  local at = tonumber(string.match(stored[index + 1], '^%d+'))
  if at < now - lasts or at > now + lasts then  -- or a clock was ahead: a living process writes it again
    redis.call('HDEL', reports, stored[index])
  end
end
if figures == '' then
  redis.call('HDEL', reports, holder)
else
  redis.call('HSET', reports, holder, text(now) .. ' ' .. figures)
  redis.call('EXPIRE', reports, 2 * lasts)
end
return {epoch, text(sequence)}
