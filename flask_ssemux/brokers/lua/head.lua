-- The place of the newest event, which server says so, and the place at which this life began.

return {epoch, text(sequence), run, redis.call('HGET', KEYS[1], 'born') or '0'}
