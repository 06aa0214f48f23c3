-- uses: now record_failure
-- A submitter gives up inputs whose replicas died: they become failed jobs, as those that raised do on their replica.
--
-- ARGV  4 ISO stamp   then per input: id, description, zlib+base64 reason, payload, worker
for i = 5, #ARGV, 5 do
  record_failure(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[4], t)
end
return 1
