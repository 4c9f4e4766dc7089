-- Puts users on rosters, and returns the changes that a process has to announce.
--
-- ARGV     process, milliseconds that it has to announce a leave, the maximum number of changes, the number of changes
--          that it has announced, for each of these: kind, channel, user; then channel, user, grace (ms) ...
-- returns  epoch, sequence, milliseconds until there may be another leave ('' if nobody is away), and in one list the
--          changes: kind, channel, user ...

local owner, claim, most, announced = ARGV[own + 1], tonumber(ARGV[own + 2]), tonumber(ARGV[own + 3]), ARGV[own + 4]
local absent, changes = base .. 'absent', base .. 't:' .. owner
local AHEAD = 7200000  -- a departure that is due later was noted while a clock was ahead
local KEPT = 3600      -- seconds after which the list of a process that has no changes any more is forgotten
allow_writes()

local living = {}
do
  local known = redis.call('HGETALL', base .. 'present')
  for index = 1, #known, 2 do
    if tonumber(string.match(known[index + 1], '^%d+')) > now then
      living[#living + 1] = known[index]
    end
  end
end

local function is_present(channel, user)
  for _, process in ipairs(living) do
    if redis.call('HEXISTS', base .. 'p:' .. channel, process .. ' ' .. user) == 1 then
      return true
    end
  end
  return false
end

-- A user on a roster is: the change that is to be announced ('-' for none), the grace period, and the process that
-- announces the change.
local function read_entry(channel, user)
  local entry = redis.call('HGET', base .. 'r:' .. channel, user)
  if entry then
    return string.match(entry, '^(%S+) (%d+) (%S*)$')
  end
end

local function write_entry(channel, user, change, grace, process)
  redis.call('HSET', base .. 'r:' .. channel, user, change .. ' ' .. grace .. ' ' .. process)
  local member = channel .. '\n' .. user
  if process == owner then
    redis.call('SADD', changes, member)
    redis.call('EXPIRE', changes, KEPT)
  else
    redis.call('SREM', changes, member)
  end
end

local function end_change(kind, channel, user)
  local change, grace, process = read_entry(channel, user)
  if change ~= kind or process ~= owner then
    return
  end
  local member = channel .. '\n' .. user
  if kind == 'join' then
    write_entry(channel, user, '-', grace, '')
  elseif is_present(channel, user) then
    write_entry(channel, user, 'join', grace, owner)
    redis.call('ZREM', absent, member)
  else
    redis.call('HDEL', base .. 'r:' .. channel, user)
    redis.call('SREM', changes, member)
    redis.call('ZREM', absent, member)
  end
end

local function put_on_roster(channel, user, grace)
  local change, _, process = read_entry(channel, user)
  if not change then
    write_entry(channel, user, 'join', grace, owner)
  elseif change ~= 'leave' then
    redis.call('HSET', base .. 'r:' .. channel, user, change .. ' ' .. grace .. ' ' .. process)
    redis.call('ZREM', absent, channel .. '\n' .. user)
  end
end

-- Takes over the leave of a user who is still away, or a change that another process did not announce.
local function check_absent(member)
  local channel, user = string.match(member, '^([^\n]*)\n(.*)$')
  local change, grace = read_entry(channel, user)
  local is_back = change and is_present(channel, user)
  if not change or change == '-' and is_back then
    redis.call('ZREM', absent, member)
  else
    write_entry(channel, user, change == 'join' and is_back and 'join' or 'leave', grace, owner)
    redis.call('ZADD', absent, text(now + claim), member)
  end
end

local index = own + 5
for _ = 1, tonumber(announced) do
  end_change(ARGV[index], ARGV[index + 1], ARGV[index + 2])
  index = index + 3
end
while index <= #ARGV do
  put_on_roster(ARGV[index], ARGV[index + 1], ARGV[index + 2])
  index = index + 3
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', absent, '-inf', text(now), 'LIMIT', 0, most)) do
  check_absent(member)
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', absent, text(now + AHEAD), '+inf', 'LIMIT', 0, most)) do
  check_absent(member)
end

local found = {}
for _, member in ipairs(redis.call('SRANDMEMBER', changes, most)) do
  local channel, user = string.match(member, '^([^\n]*)\n(.*)$')
  local change, _, process = read_entry(channel, user)
  if process == owner and change ~= '-' then
    found[#found + 1] = change
    found[#found + 1] = channel
    found[#found + 1] = user
  else
    redis.call('SREM', changes, member)  -- another process took it over
  end
end
local first = redis.call('ZRANGE', absent, 0, 0, 'WITHSCORES')
local due = first[2] and text(math.max(0, tonumber(first[2]) - now)) or ''
return {epoch, text(sequence), due, found}
