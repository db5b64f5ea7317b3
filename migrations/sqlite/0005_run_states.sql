-- expand
-- What runs show of themselves (setStatus, progress): one row for each run that ever did, rewritten
-- by its slices. No foreign key: what an older program's clear leaves here belongs to no run, and no
-- run gets its number.
CREATE TABLE run_states (
  task_run_id INTEGER PRIMARY KEY,
  version     INTEGER NOT NULL,  -- counts the changes
  updated_at  INTEGER NOT NULL,
  progress    TEXT,              -- {"done", "total"?, "message"?}
  status      TEXT
);
