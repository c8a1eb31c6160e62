-- The end of a load, of which everybody is told; if another member has it meanwhile, nothing happens.
-- KEYS: the load, the channel. ARGV: this member; unless it was given up, 1 if it has failed or 0, and its outcome.
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then
  return 0
end
redis.call('HDEL', KEYS[1], 'holder')
if ARGV[2] then
  local clock = redis.call('TIME')
  local now = string.format('%d', clock[1] * 1000000 + clock[2])
  redis.call('HINCRBY', KEYS[1], 'loads', 1)
  redis.call('HSET', KEYS[1], 'ended', now, 'failed', ARGV[2], 'outcome', ARGV[3])
end
return redis.call('PUBLISH', KEYS[2], KEYS[1])
