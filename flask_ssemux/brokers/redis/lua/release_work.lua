-- Releases leases of work. A run that was released can still be ended by its fence.
--
-- ARGV  name and fence of each lease

allow_writes()
for index = own + 1, #ARGV, 2 do
  local name, fence = ARGV[index], ARGV[index + 1]
  local lease = read_lease(name)
  if lease.fence == fence then
    if get_run(name) then
      lease.expires, lease.holder = 0, ''
      write_lease(name, lease)
    else
      redis.call('DEL', work_key(name))
    end
  end
end
return {epoch, text(sequence)}
