-- Returns the reports of workers: epoch, sequence, and in one list process, age in seconds, figures ...
--
-- ARGV  seconds that a report lasts

local now, rows = tonumber(redis.call('TIME')[1]), {}
local stored = redis.call('HGETALL', base .. 'reports')
for index = 1, #stored, 2 do
  local at, figures = string.match(stored[index + 1], '^(%d+) (.*)$')
  local age = now - tonumber(at)
  if math.abs(age) <= tonumber(ARGV[own + 1]) then  -- in the future: a clock was ahead
    rows[#rows + 1] = stored[index]
    rows[#rows + 1] = text(age)
    rows[#rows + 1] = figures
  end
end
return {epoch, text(sequence), rows}
