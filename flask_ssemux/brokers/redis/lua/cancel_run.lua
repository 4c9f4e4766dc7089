-- Notes that a run has to end.
--
-- ARGV     id
-- returns  epoch, sequence, 1 if the run was running

local key = base .. 'run:' .. ARGV[own + 1]
if redis.call('HGET', key, 'state') ~= RUNNING then
  return {epoch, text(sequence), 0}
end
allow_writes()
redis.call('HSET', key, 'cancelled', '1')
return {epoch, text(sequence), 1}
