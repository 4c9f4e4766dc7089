-- Returns the channels that have events after a sequence, in the order of their newest events, a part at a time.
--
-- ARGV     the sequence, the beginning of the part (channels whose newest event is up to this sequence were returned),
--          the maximum number of channels
-- returns  epoch, sequence, whether all channels with such events are listed, in one list channel, its newest event ...

local after, from, limit = tonumber(ARGV[own + 1]), ARGV[own + 2], ARGV[own + 3]
-- An earlier version appends without listing the channel.
local is_listed = tonumber(state.listed or 0) == sequence and tonumber(state.unlisted or 0) <= after
local found = redis.call('ZRANGEBYSCORE', base .. 'lasts', '(' .. from, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
return {epoch, text(sequence), is_listed and 1 or 0, found}
