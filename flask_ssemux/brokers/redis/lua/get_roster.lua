-- Returns the users on the roster of a channel.
--
-- ARGV  channel

return {epoch, text(sequence), redis.call('HKEYS', base .. 'r:' .. ARGV[own + 1])}
