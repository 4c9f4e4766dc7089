-- Registers a process of an application that uses this store without a namespace, unless a rival is registered; the
-- name "" removes the registration. If the server takes no writes, they are left out: the answer matters more.
--
-- ARGV     process, seconds that a registration lasts, a fingerprint of the application's key, its script name, its
--          name; dead processes
-- returns  epoch, sequence, all others: in one list process, and its fingerprint, script name and name, line by line

local holder, lasts, key, script, name = unpack(ARGV, own + 1, own + 5)
local register = base .. 'applications'
local now = tonumber(redis.call('TIME')[1])

for index = own + 6, #ARGV do
  redis.pcall('HDEL', register, ARGV[index])
end

local function is_end(short, long)
  return string.sub(long, -#short - 1) == '.' .. short
end

local function is_rival(its_script, its_name)
  local is_same = its_name == name or is_end(name, its_name) or is_end(its_name, name)
  return not is_same or (script ~= '' and its_script ~= '' and its_script ~= script)
end

local others, is_free = {}, name ~= ''
local stored = redis.call('HGETALL', register)
for index = 1, #stored, 2 do
  local at, rest = string.match(stored[index + 1], '^(%d+)\n(.*)$')
  local its_script, its_name = string.match(rest, '^[^\n]*\n([^\n]*)\n(.*)$')
  if math.abs(now - tonumber(at)) > tonumber(lasts) then
    redis.pcall('HDEL', register, stored[index])
  elseif stored[index] ~= holder then
    table.insert(others, stored[index])
    table.insert(others, rest)
    is_free = is_free and not is_rival(its_script, its_name)
  end
end

if is_free then
  redis.pcall('HSET', register, holder, table.concat({text(now), key, script, name}, '\n'))
  redis.pcall('EXPIRE', register, 2 * tonumber(lasts))
else
  redis.pcall('HDEL', register, holder)
end
return {epoch, text(sequence), others}
