-- Who is there: in one list holder, user, streams ... of a channel, of the processes whose word counts.
--
-- ARGV  channel

local counts = {}
local known = redis.call('HGETALL', base .. 'present')
for index = 1, #known, 2 do
  counts[known[index]] = tonumber(string.match(known[index + 1], '^%d+')) > now
end

local rows = {}
local said = redis.call('HGETALL', base .. 'p:' .. ARGV[own + 1])
for index = 1, #said, 2 do
  local holder, user = string.match(said[index], '^(%S+) (.*)$')
  if counts[holder] then
    rows[#rows + 1] = holder
    rows[#rows + 1] = user
    rows[#rows + 1] = said[index + 1]
  end
end
return {epoch, text(sequence), rows}
