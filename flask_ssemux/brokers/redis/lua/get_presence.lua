-- Returns the streams of a channel that have not expired: in one list process, user, streams ...
--
-- ARGV  channel

local counts = {}
local known = redis.call('HGETALL', base .. 'present')
for index = 1, #known, 2 do
  counts[known[index]] = tonumber(string.match(known[index + 1], '^%d+')) > now
end

local rows = {}
local stored = redis.call('HGETALL', base .. 'p:' .. ARGV[own + 1])
for index = 1, #stored, 2 do
  local holder, user = string.match(stored[index], '^(%S+) (.*)$')
  if counts[holder] then
    rows[#rows + 1] = holder
    rows[#rows + 1] = user
    rows[#rows + 1] = stored[index + 1]
  end
end
return {epoch, text(sequence), rows}
