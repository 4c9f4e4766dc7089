-- Gives a process its share of some keys again, of which it has taken no slot: where enough slots are left for it.
--
-- ARGV     process, its share, the limit of all processes, seconds that a lease lasts, keys ...
-- returns  epoch, sequence, those of the keys of which it has its share again

local holder, size, limit, lasts = unpack(ARGV, own + 1, own + 4)
local found = {}

allow_writes()
for index = own + 5, #ARGV do
  local taken, shared = count_others(ARGV[index], holder, tonumber(lasts))
  if has_share(holder) and taken + shared + tonumber(size) <= tonumber(limit) then
    redis.call('HDEL', base .. 'h:' .. ARGV[index], holder)
    found[#found + 1] = ARGV[index]
  end
end
return {epoch, text(sequence), found}
