-- What processes say of themselves. Returns epoch, sequence, and in one list holder, seconds since, figures ...
--
-- ARGV  seconds that a report lasts

local now, rows = tonumber(redis.call('TIME')[1]), {}
local told = redis.call('HGETALL', base .. 'reports')
for index = 1, #told, 2 do
  local at, figures = string.match(told[index + 1], '^(%d+) (.*)$')
  local age = now - tonumber(at)
  if math.abs(age) <= tonumber(ARGV[own + 1]) then  -- in the future: by a clock that was ahead
    rows[#rows + 1] = told[index]
    rows[#rows + 1] = text(age)
    rows[#rows + 1] = figures
  end
end
return {epoch, text(sequence), rows}
