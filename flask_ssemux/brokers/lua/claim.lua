-- Claims what may be used once; says 1 to the first.
--
-- ARGV  key, milliseconds until which nobody else may

local first = redis.call('SET', base .. 'claim:' .. ARGV[own + 1], '', 'NX', 'PX', ARGV[own + 2])
return {epoch, text(sequence), first and 1 or 0}
