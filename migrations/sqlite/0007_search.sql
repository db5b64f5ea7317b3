-- expand
-- What runs are found by beside their own columns, and how long they are kept. Every table that
-- holds rows of a run has a column task_run_id, with an index that begins with it: so removing runs
-- and `clear` find them by themselves.

CREATE TABLE run_tags (
  task_run_id INTEGER NOT NULL REFERENCES task_runs (id),
  kind        INTEGER NOT NULL,  -- 0: a tag, given at submit; 1: an attribute, set by the task
  key         TEXT NOT NULL,
  value       TEXT NOT NULL,
  number      REAL,
  PRIMARY KEY (task_run_id, kind, key, value)
) WITHOUT ROWID;
CREATE INDEX run_tags_value ON run_tags (kind, key, value, task_run_id);

-- Runs that a call of another run started and waits for.
CREATE TABLE run_children (
  task_run_id INTEGER PRIMARY KEY REFERENCES task_runs (id),
  parent_run  INTEGER NOT NULL REFERENCES task_runs (id)
);
CREATE INDEX run_children_parent ON run_children (parent_run);

CREATE TABLE task_retention (
  task         TEXT PRIMARY KEY,
  completed_ms INTEGER NOT NULL,  -- -1: as the task's options or the settings say; 0: for ever
  failed_ms    INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL
) WITHOUT ROWID;
