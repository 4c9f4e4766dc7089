-- Claims what may be used once; says 1 to the first.
--
-- ARGV  key, milliseconds until which nobody else may, a token of this claim
--
-- A caller that never got its answer asks again with the same token, and gets the same answer.

local key, lasts, token = base .. 'claim:' .. ARGV[own + 1], ARGV[own + 2], ARGV[own + 3]
make_way()
local first = redis.call('SET', key, token, 'NX', 'PX', lasts) or redis.call('GET', key) == token
if not first and redis.call('PTTL', key) > tonumber(lasts) then  -- by a clock that was ahead
  redis.call('PEXPIRE', key, lasts)
end
return {epoch, text(sequence), first and 1 or 0}
