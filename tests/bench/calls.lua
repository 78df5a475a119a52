-- For wrk: posts one body to the paths of a plan, in turn. The plan: a line with the body, headers as `Name: value`,
-- an empty line, paths. Prints what came of it as one line of JSON.

local requests = {}
local following = 0

function init(args)
  local lines = io.lines(args[1])
  local body = lines()
  local headers = {}
  for line in lines do
    if line == "" then break end
    local name, value = line:match("^(.-): (.*)$")
    headers[name] = value
  end
  for path in lines do
    requests[#requests + 1] = wrk.format("POST", path, headers, body)
  end
end

function request()
  following = following % #requests + 1
  return requests[following]
end

function done(summary, latency)
  local failed = summary.errors
  io.write(string.format(
    '{"p50_us": %d, "p99_us": %d, "requests": %d, "duration_us": %d, "failed": %d}\n',
    latency:percentile(50), latency:percentile(99), summary.requests, summary.duration,
    failed.connect + failed.read + failed.write + failed.status + failed.timeout))
end
