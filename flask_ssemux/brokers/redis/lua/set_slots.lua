-- Writes how many slots a process has; 0: it has released those of the key.
--
-- ARGV  process, slots in all, seconds that a lease lasts, then key, slots ...

local holder, total, lasts = ARGV[own + 1], ARGV[own + 2], tonumber(ARGV[own + 3])
local now, expires = seconds, text(seconds + lasts)
allow_writes()

for index = own + 4, #ARGV, 2 do
  write_slots(ARGV[index], holder, tonumber(ARGV[index + 1]), lasts)
end

local holders = redis.call('HGETALL', base .. 'holders')
for index = 1, #holders, 2 do
  local until_ = tonumber(string.match(holders[index + 1], '%d+$'))
  if until_ < now or until_ > now + 2 * lasts then  -- or a clock was ahead: a living process renews it
    redis.call('HDEL', base .. 'holders', holders[index])
  end
end
if total == '0' then
  redis.call('HDEL', base .. 'holders', holder)
else
  redis.call('HSET', base .. 'holders', holder, total .. ' ' .. expires)
end
return {epoch, text(sequence)}
