-- Uses a one-time key.
--
-- ARGV     key, milliseconds for which it cannot be used again, a token of this call
-- returns  epoch, sequence, whether this is the first use (1 or 0)
--
-- A caller that never got its answer repeats the call with the same token, and gets the same answer.

local key, lasts, token = base .. 'claim:' .. ARGV[own + 1], ARGV[own + 2], ARGV[own + 3]
allow_writes()
local first = redis.call('SET', key, token, 'NX', 'PX', lasts) or redis.call('GET', key) == token
if not first and redis.call('PTTL', key) > tonumber(lasts) then  -- the clock was ahead when it was written
  redis.call('PEXPIRE', key, lasts)
end
return {epoch, text(sequence), first and 1 or 0}
