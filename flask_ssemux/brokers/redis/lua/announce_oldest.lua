-- Writes since when a process has had the oldest of its slots under a key.
--
-- ARGV  key, process, Unix time ("": it has none)
--
-- It outlasts the process by a day at most; `list_holders.lua` returns only processes that have slots.

allow_writes()
local hash, holder, since = base .. 'o:' .. ARGV[own + 1], ARGV[own + 2], ARGV[own + 3]
if since == '' then
  redis.call('HDEL', hash, holder)
else
  redis.call('HSET', hash, holder, since)
  redis.call('EXPIRE', hash, 86400)
end
for _, other in ipairs(redis.call('HKEYS', hash)) do
  if other ~= holder and redis.call('HEXISTS', base .. 'h:' .. ARGV[own + 1], other) == 0 then
    redis.call('HDEL', hash, other)  -- that process has no slot any more
  end
end
return {epoch, text(sequence)}
