-- Renews leases of work, and writes which work a process wants to be done.
--
-- ARGV     process, milliseconds that a lease lasts; how many leases, and the name and fence of each; how many names it
--          wants, and these; how many it no longer wants, and these; names of which it asks for the holder
-- returns  epoch, sequence; of each lease 0 if it is not held, 1 if it is, 2 if its run was cancelled, too; the
--          processes that want its work; of the wanted names and of the last ones: the holder, '' if there is none

local at = own + 3
local function read_list(step)
  local list, count = {}, step * tonumber(ARGV[at])
  for index = at + 1, at + count do
    list[#list + 1] = ARGV[index]
  end
  at = at + 1 + count
  return list
end

local holder, lasts = ARGV[own + 1], tonumber(ARGV[own + 2])
local leases, wants, drops = read_list(2), read_list(1), read_list(1)

allow_writes()
for _, name in ipairs(drops) do
  redis.call('HDEL', base .. 'wants:' .. name, holder)
end
for _, name in ipairs(wants) do
  redis.call('HSET', base .. 'wants:' .. name, holder, text(now + lasts))
  redis.call('PEXPIRE', base .. 'wants:' .. name, 2 * lasts)
end
local held, wanting, holders = {}, {}, {}
for index = 1, #leases, 2 do
  local name, fence = leases[index], leases[index + 1]
  local lease, processes, id = read_lease(name), {}, get_run(name)
  local code = lease.fence == fence and 1 or 0
  if code == 1 then
    lease.expires, lease.holder = now + lasts, holder
    write_lease(name, lease)
    if id then
      keep_run(id)
      code = redis.call('HGET', base .. 'run:' .. id, 'cancelled') == '1' and 2 or 1
    else
      local found = redis.call('HGETALL', base .. 'wants:' .. name)
      for field = 1, #found, 2 do
        local expires = tonumber(found[field + 1])
        if expires >= now and expires <= now + lasts then
          processes[#processes + 1] = found[field]
        end
      end
    end
  end
  held[#held + 1], wanting[#wanting + 1] = code, processes
end
for _, name in ipairs(wants) do
  holders[#holders + 1] = find_holder(name, lasts)
end
for index = at, #ARGV do
  holders[#holders + 1] = find_holder(ARGV[index], lasts)
end
return {epoch, text(sequence), held, wanting, holders}
