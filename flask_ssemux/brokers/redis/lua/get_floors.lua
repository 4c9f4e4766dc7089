-- Returns the floor of channels: the sequence up to which their events are over a limit of the history.
--
-- ARGV     channels ...
-- returns  epoch, sequence, a floor for each channel

local floors = {}
for index = own + 1, #ARGV do
  floors[#floors + 1] = text(find_floor(ARGV[index]))
end
return {epoch, text(sequence), floors}
