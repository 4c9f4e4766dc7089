-- Takes the leases of work that no other living process holds.
--
-- ARGV     process, milliseconds that a lease lasts, the number of processes that are known to be dead, these, names
-- returns  epoch, sequence, and in one list of each name: the fence of the new lease, or '' and then the holder

local holder, lasts, dead = ARGV[own + 1], tonumber(ARGV[own + 2]), {[''] = true}
local names = own + 4 + tonumber(ARGV[own + 3])
for index = own + 4, names - 1 do
  dead[ARGV[index]] = true
end

allow_writes()
local rows = {}
for index = names, #ARGV do
  local other = find_holder(ARGV[index], lasts)
  local is_free = other == holder or dead[other]
  rows[#rows + 1] = is_free and take_lease(ARGV[index], holder, lasts) or ''
  rows[#rows + 1] = other
end
return {epoch, text(sequence), rows}
