-- Keeps since when a holder has the oldest of its places under a key.
--
-- ARGV  key, holder, Unix time; "": it has none
--
-- It outlasts the holder's process by a day at most; `oldest.lua` looks at those that hold places.

make_way()
local hash, holder, since = base .. 'o:' .. ARGV[own + 1], ARGV[own + 2], ARGV[own + 3]
if since == '' then
  redis.call('HDEL', hash, holder)
else
  redis.call('HSET', hash, holder, since)
  redis.call('EXPIRE', hash, 86400)
end
for _, other in ipairs(redis.call('HKEYS', hash)) do
  if other ~= holder and redis.call('HEXISTS', base .. 'h:' .. ARGV[own + 1], other) == 0 then
    redis.call('HDEL', hash, other)  -- its process is no more
  end
end
return {epoch, text(sequence)}
