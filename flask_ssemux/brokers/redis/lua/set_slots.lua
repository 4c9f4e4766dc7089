-- Says anew which places a holder has; none: it has let go of the key.
--
-- ARGV  holder, places in all, seconds that a hold lasts, then key, places ...

local holder, total, lasts = ARGV[own + 1], ARGV[own + 2], tonumber(ARGV[own + 3])
local now = tonumber(redis.call('TIME')[1])
local till = text(now + lasts)
make_way()

for index = own + 4, #ARGV, 2 do
  local hash = base .. 'h:' .. ARGV[index]
  if ARGV[index + 1] == '0' then
    redis.call('HDEL', hash, holder)
  else
    redis.call('HSET', hash, holder, ARGV[index + 1] .. ' ' .. till)
    redis.call('EXPIRE', hash, 2 * lasts)
  end
end

local holders = redis.call('HGETALL', base .. 'holders')
for index = 1, #holders, 2 do
  local until_ = tonumber(string.match(holders[index + 1], '%d+$'))
  if until_ < now or until_ > now + 2 * lasts then  -- or by a clock that was ahead: who lives says it anew
    redis.call('HDEL', base .. 'holders', holders[index])
  end
end
if total == '0' then
  redis.call('HDEL', base .. 'holders', holder)
else
  redis.call('HSET', base .. 'holders', holder, total .. ' ' .. till)
end
return {epoch, text(sequence)}
