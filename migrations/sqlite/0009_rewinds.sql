-- expand
-- Runs that go on from an earlier point, or are copies of others up to one. A fork's time begins
-- when its source's did: that is created_at of its root stack run.

ALTER TABLE task_runs ADD COLUMN forked_from INTEGER;  -- the source's id; it may be gone
ALTER TABLE task_runs ADD COLUMN forked_at INTEGER;    -- journal position of the source
ALTER TABLE task_runs ADD COLUMN rewinds INTEGER NOT NULL DEFAULT 0;  -- retries, resumes on other code
