-- In place of `limits.lua`, for delivery: what is kept counts, over a limit or not.

local floor_of = trimmed_of
