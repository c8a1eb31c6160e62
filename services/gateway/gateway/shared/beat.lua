-- A gateway lives, and one of them is the scheduler.
-- KEYS: members, scheduler, epoch. ARGV: this member, its lease and the scheduler's in ms, 1 if it has been away: what
-- it has decided before is void then.
-- Returns whether it was a member, the scheduler, its epoch, and all members.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local was = redis.call('ZSCORE', KEYS[1], ARGV[1]) and 1 or 0
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local scheduler = redis.call('GET', KEYS[2])
if not scheduler or (scheduler == ARGV[1] and ARGV[4] == '1') then
  scheduler = ARGV[1]
  -- Above every epoch before it, even if the counter has been lost with Valkey's memory.
  local last = tonumber(redis.call('GET', KEYS[3]) or 0)
  redis.call('SET', KEYS[3], string.format('%d', math.max(last + 1, now)), 'EX', 86400)
  redis.call('SET', KEYS[2], scheduler, 'PX', ARGV[3])
elseif scheduler == ARGV[1] then
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  redis.call('EXPIRE', KEYS[3], 86400)
end
return {was, scheduler, tonumber(redis.call('GET', KEYS[3]) or 0), redis.call('ZRANGE', KEYS[1], 0, -1)}
