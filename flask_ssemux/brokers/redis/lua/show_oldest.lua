-- Keeps since when a holder has the oldest of its places under a key.
--
-- ARGV  key, holder, Unix time; "": it has none
--
-- It outlasts the holder's process by a day at most; `oldest.lua` looks at those that hold places.

local hash, holder, since = base .. 'o:' .. ARGV[own + 1], ARGV[own + 2], ARGV[own + 3]
if since == '' then
  redis.call('HDEL', hash, holder)
else
  redis.call('HSET', hash, holder, since)
  redis.call('EXPIRE', hash, 86400)
end
return {epoch, text(sequence)}
