-- The beginning of every script: it reads the store's state, and detects whether the store has lost events.
--
-- KEYS[1]   the hash `life`; all other keys begin as its name does
-- ARGV      the epoch and newest sequence that the caller knows, a name for a new epoch, and the limits of the history:
--           seconds, events and bytes ("" if the caller has none)
--
-- Defines: base, own, epoch, sequence, run, voids, now (ms), state (a table), refused, and the functions below.
--
-- A server that restarts, or a replica that takes over, may have lost its last events, and would give their sequences
-- again. Its run_id (or its name in a cluster) shows that it is another server. Then the sequence leaps to the time in
-- microseconds, which is ahead of all earlier sequences; those in between are void ("low:high"): a caller that knows one
-- of them has seen an event that is lost. If the caller is one of our processes, a new epoch begins for all. A new epoch
-- also begins if the caller knows a sequence that was not given yet, or if the clock is so far behind that the sequence
-- cannot leap.
--
-- A server that takes no writes still answers scripts that only read: changes of the state are written later.

local VOIDS = 20         -- voids that are remembered; cursors before the oldest are below `forgotten`
local FLOORS = 100000    -- floors that are kept of channels; if there are more, the lowest are removed
local OWN_PREFIX = 'ssemux.'
local OWN_EVENTS, OWN_SECONDS = 10000, 3600  -- the minimum for the extension's own channels
local LEAP = 3600e6      -- the minimum length of a leap in microseconds, if the clock is behind

local base = string.sub(KEYS[1], 1, -5)
local own = 6            -- the script's own ARGV begin after this

local function text(number)
  return string.format('%.0f', number)
end

local function latest_key(channel)
  return base .. 'l:' .. channel
end

local function stream_key(channel)
  return base .. 'c:' .. channel
end

local function is_error(answer)
  return type(answer) == 'table' and answer.err
end

-- A server at its maxmemory denies a script's writes, but not those after a command that may free memory. For writes
-- that are small, or free more than they take.
local function allow_writes()
  redis.pcall('DEL', base .. 'nothing')
end

local refused  -- the error, if the server did not take a change of the state

local function set_state(...)
  allow_writes()
  local done = redis.pcall('HMSET', KEYS[1], ...)
  refused = is_error(done) and done or refused
  return not is_error(done)
end

-- Returns what names the server, and the field of the state for it. If INFO is forbidden, restarts are not detected,
-- but another node of a cluster is.
local function get_run_id()
  local info = redis.pcall('INFO', 'server')
  local id = type(info) == 'string' and string.match(info, 'run_id:(%x+)')
  if id then
    return id, 'run'
  end
  local node = redis.pcall('CLUSTER', 'MYID')
  return type(node) == 'string' and node or '', 'node'
end

local state = {}
do
  local names = {'epoch', 'sequence', 'run', 'voids', 'seconds', 'events', 'size', 'forgotten', 'at', 'bytes', 'weighed',
    'listed', 'unlisted', 'live', 'kept', 'node'}
  local values = redis.pcall('HMGET', KEYS[1], unpack(names))
  if is_error(values) then
    return {err = values.err .. ': HMGET'}
  end
  for index, name in ipairs(names) do
    state[name] = values[index] or nil
  end
end

-- While a slot is moved to another node of a cluster, some of its keys are here and some are there: a script would see
-- a part of them only. A key that does not exist shows it.
local moving = redis.pcall('EXISTS', base .. 'nothing')
if is_error(moving) then
  local is_moving = string.find(moving.err, 'non local key', 1, true)
  return {err = is_moving and 'MOVING the slot is being moved to another node' or moving.err .. ': EXISTS'}
end

local time = redis.pcall('TIME')
if is_error(time) then
  return {err = time.err .. ': TIME'}
end
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local epoch, sequence = state.epoch, tonumber(state.sequence or 0)
local run, run_field = get_run_id()
local voids = state.voids or ''

-- Of the two fields that name the server, the one that this caller does not see is empty until another caller writes
-- it.
local function get_run_state()
  return 'run', run_field == 'run' and run or '', 'node', run_field == 'node' and run or ''
end

-- The beginning of announcements. It changes with each leap: a receiver that is still connected to the server before the
-- leap may have missed announcements of this one.
local function get_mark()
  local high = string.match(voids, ':(%d+) $')
  return high and epoch .. '.' .. high or epoch
end

local function forget_floors(floor)
  if floor > tonumber(state.forgotten or 0) then
    state.forgotten = text(floor)
    set_state('forgotten', state.forgotten)
  end
end

local function begin_epoch()
  local number = text(sequence)
  if set_state('epoch', ARGV[3], 'sequence', number, 'born', number, 'voids', '', get_run_state()) then
    epoch, voids = ARGV[3], ''
  end
end

local function is_void(number)
  for low, high in string.gmatch(voids, '(%d+):(%d+)') do
    if number > tonumber(low) and number < tonumber(high) then
      return true
    end
  end
  return false
end

local function leap_to(high)
  local left, _, count = voids, string.gsub(voids, ' ', ' ')
  if count >= VOIDS then
    forget_floors(tonumber(string.match(voids, '^%d+:(%d+)')))
    left = string.gsub(voids, '^%d+:%d+ ', '')
  end
  left = left .. text(sequence) .. ':' .. text(high) .. ' '
  local listed = state.listed == text(sequence) and text(high) or state.listed or '0'
  if set_state('sequence', text(high), 'voids', left, 'listed', listed, get_run_state()) then
    sequence, voids, state.listed = high, left, listed
  end
end

-- The clock is behind if it was later when the newest event came; sequences may have been given since then.
local function leap()
  local high = tonumber(time[1]) * 1e6 + tonumber(time[2])
  local is_behind = now < tonumber(state.at or 0)
  if high <= sequence or is_behind and high - sequence < LEAP then
    begin_epoch()
  else
    leap_to(high)
  end
end

if not epoch then
  -- If only the hash was lost, streams are left whose sequences will be given again.
  for _, list in ipairs({'firsts', 'own:firsts'}) do
    for _, channel in ipairs(redis.call('ZRANGE', base .. list, 0, -1)) do
      redis.call('DEL', stream_key(channel), latest_key(channel))
    end
  end
  redis.call('DEL', base .. 'firsts', base .. 'own:firsts', base .. 'floors', base .. 'lasts')
  redis.call('DEL', base .. 'clock', base .. 'own:clock')
  begin_epoch()
  if not epoch then
    return refused
  end
elseif run ~= '' and run ~= (state[run_field] or '') then
  if (state[run_field] or '') == '' then
    set_state(run_field, run)  -- until now no caller saw it
  else
    leap()
  end
end
if ARGV[1] == epoch and not refused then
  local known = tonumber(ARGV[2])
  if is_void(known) or known > sequence then
    sequence = math.max(sequence, known)
    begin_epoch()
  end
end
if ARGV[4] ~= '' and (ARGV[4] ~= state.seconds or ARGV[5] ~= state.events or ARGV[6] ~= state.size) then
  state.seconds, state.events, state.size = ARGV[4], ARGV[5], ARGV[6]
  local before = refused
  set_state('seconds', state.seconds, 'events', state.events, 'size', state.size)
  refused = before  -- the next script sets it again
end

-- The limits of a channel's history, and the keys that list its kind: the extension's own channels have others.
local function get_kind(channel)
  local seconds, events = tonumber(state.seconds or 3600), tonumber(state.events or 10000)
  if string.sub(channel, 1, #OWN_PREFIX) == OWN_PREFIX then
    return {seconds = math.max(seconds, OWN_SECONDS), events = OWN_EVENTS, clock = base .. 'own:clock',
      firsts = base .. 'own:firsts', is_own = true}
  end
  return {seconds = seconds, events = events, clock = base .. 'clock', firsts = base .. 'firsts'}
end

-- The sequence up to which events of a channel were trimmed.
local function get_trimmed(channel)
  return tonumber(redis.call('ZSCORE', base .. 'floors', channel) or state.forgotten or 0)
end

local function raise_floor(channel, floor)
  if floor <= get_trimmed(channel) then
    return
  end
  redis.call('ZADD', base .. 'floors', text(floor), channel)
  if redis.call('ZCARD', base .. 'floors') > FLOORS then
    forget_floors(tonumber(redis.call('ZPOPMIN', base .. 'floors', 10)[20] or 0))
  end
end
