-- expand
-- Which retry of its run a call was made after: the newest one that kept no call of its number. It
-- stays the same for as long as there is the call, and differs from that of a call of the same number
-- that was removed. What a call sends to other runs bears it in its key.
--   n      task_runs.rewinds after that retry
--   calls  it kept those up to this one
CREATE TABLE retries (
  task_run_id INTEGER NOT NULL,
  n           INTEGER NOT NULL,
  calls       INTEGER NOT NULL,
  PRIMARY KEY (task_run_id, n)
) WITHOUT ROWID;
