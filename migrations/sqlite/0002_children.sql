-- expand
-- Which task run was started by a call of which other run, and which are to be cancelled after it.

CREATE TABLE child_tasks (
  parent_run  INTEGER NOT NULL,
  child_run   INTEGER NOT NULL,
  parent_call INTEGER,           -- NULL: the call was made anew and has another child now
  depth       INTEGER NOT NULL,  -- runs above the child
  PRIMARY KEY (parent_run, child_run)
) WITHOUT ROWID;
CREATE UNIQUE INDEX child_tasks_child ON child_tasks (child_run);
CREATE UNIQUE INDEX child_tasks_call ON child_tasks (parent_call) WHERE parent_call IS NOT NULL;

-- Written when the parent is cancelled, in the same transaction; gone once the child has ended.
CREATE TABLE child_cancels (
  child_run  INTEGER PRIMARY KEY,
  parent_run INTEGER NOT NULL
);
