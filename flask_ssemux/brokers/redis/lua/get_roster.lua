-- Returns the users on the roster of a channel, without those whose leave is due.
--
-- ARGV  channel

local users = {}
local entries = redis.call('HGETALL', base .. 'r:' .. ARGV[own + 1])
for index = 1, #entries, 2 do
  if string.sub(entries[index + 1], 1, 6) ~= 'leave ' then
    users[#users + 1] = entries[index]
  end
end
return {epoch, text(sequence), users}
