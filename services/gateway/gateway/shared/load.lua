-- Who loads a model, as long as its lease lasts. KEYS: the load. ARGV: this member, its lease in ms, the loads that it
-- has seen end or '' at first, the age in microseconds of the oldest request that waits.
-- Returns 'ended' and its outcome if a load has ended since then; 'yours'; or else 'wait', and the ms that the lease
-- lasts; and the loads that have ended.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local load = redis.call('HMGET', KEYS[1], 'loads', 'holder', 'until', 'ended', 'failed', 'outcome')
local loads, holder, lease = tonumber(load[1] or 0), load[2], tonumber(load[3] or 0)
local ended, failed, outcome = tonumber(load[4] or 0), load[5] == '1', load[6]
if ARGV[3] ~= '' and loads > tonumber(ARGV[3]) or failed and ended > now - ARGV[4] then
  return {'ended', outcome, loads}
end
if not holder or holder == ARGV[1] or lease <= now then
  redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'until', now + ARGV[2] * 1000)
  redis.call('EXPIRE', KEYS[1], 3600)
  return {'yours', '', loads}
end
return {'wait', math.ceil((lease - now) / 1000), loads}
