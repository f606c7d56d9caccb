//! What runs inside Redis.

use redis::Script;

/// One script, so that a batch is what the list held at one moment, however many pages it takes
/// and whoever acknowledges meanwhile. Of an entry that is too long for a record it returns the
/// beginning, the size and a digest, and nothing behind it: to acknowledge means to look at it again.
///
/// Nothing is returned of a list that belongs to somebody else, or to anybody where it is not known
/// who asks. It gets by with five arguments: who has not logged in may send ten words, and learns from
/// the answer to them that a password is missing.
const PEEK: &str = r"
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[5] then
  return redis.error_reply('AUDITUNCLAIMED it is not the owner')
end
local limit, budget, from = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local longest, beginning = tonumber(ARGV[4]), 65536
local found, count, bytes, at = {}, 0, 0, 0
while at < limit do
  local page = redis.call('LRANGE', KEYS[1], from + at, from + math.min(at + 32, limit) - 1)
  for _, payload in ipairs(page) do
    local size = #payload
    if size > longest then
      payload = {string.sub(payload, 1, beginning), size, redis.sha1hex(payload)}
      size = budget
    end
    bytes = bytes + size
    if bytes > budget and count > 0 then return found end
    count = count + 1
    found[count] = payload
  end
  if #page < 32 then break end
  at = at + 32
end
return found
";

/// An RPUSH to a list that belongs to nobody else. Who does not know yet whose records these are says
/// nothing, and that is the owner of a list that is nobody's.
const PUSH: &str = r"
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then
  return redis.error_reply('AUDITUNCLAIMED it is not the owner')
end
return redis.call('RPUSH', KEYS[1], unpack(ARGV, 2))
";

/// Makes a list somebody's that is nobody's, or that the same queue has claimed before under the
/// name that it assumed then, and returns whose it is. A full server takes no key.
const CLAIM: &str = r"
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[2] then return owner end
local set = redis.pcall('SET', KEYS[1], ARGV[1])
if set.err then
  if string.find(set.err, 'OOM') then return '' end
  return redis.error_reply(set.err)
end
return ARGV[1]
";

/// The code of the error of who finds that a list is not its own.
pub(super) const UNCLAIMED: &str = "AUDITUNCLAIMED";

/// Compares all of the batch, not its first payload only: after a push that timed out and was
/// repeated the same payload stands in the list twice, and a late acknowledgement that looked at
/// the head alone could remove what nobody has stored.
///
/// A record is compared by its id, which nothing else has, what is too long for a record by its size
/// and its beginning, and anything else by a digest. Each of these is 40 bytes, so that no two
/// batches look alike. Redis waits for the script, and to digest every record would take it as long
/// again as to read it.
///
/// There is one write. Redis 7.0 can lose later writes after a power cut inside a script with
/// several. LTRIM works where RPUSH is refused for want of memory.
const ACK: &str = r#"
local batch = redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)
if #batch ~= tonumber(ARGV[1]) then return 0 end
local longest, beginning = tonumber(ARGV[3]), 65536
local sub = string.sub
for i, payload in ipairs(batch) do
  if #payload > longest then
    batch[i] = redis.sha1hex(sub(payload, 1, beginning) .. #payload)
  elseif #payload > 49 and sub(payload, 1, 13) == '{"v":1,"id":"' then
    batch[i] = sub(payload, 10, 49)
  else
    batch[i] = redis.sha1hex(payload)
  end
end
if table.concat(batch) ~= ARGV[2] then return 0 end
redis.call('LTRIM', KEYS[1], ARGV[1], -1)
return #batch
"#;

/// The scripts of a queue.
pub(super) struct Scripts {
    pub(super) peek: Script,
    pub(super) push: Script,
    pub(super) claim: Script,
    pub(super) ack: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            peek: Script::new(PEEK),
            push: Script::new(PUSH),
            claim: Script::new(CLAIM),
            ack: Script::new(ACK),
        }
    }
}
