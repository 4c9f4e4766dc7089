-- Notes that a run has to end.
--
-- ARGV     id
-- returns  epoch, sequence, 1 if the run has not ended

local key = base .. 'run:' .. ARGV[own + 1]
local run_state = redis.call('HGET', key, 'state')
if run_state ~= RUNNING and run_state ~= WAITING then
  return {epoch, text(sequence), 0}
end
allow_writes()
redis.call('HSET', key, 'cancelled', '1')
return {epoch, text(sequence), 1}
