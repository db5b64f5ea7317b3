-- expand
-- Runs that begin by the clock (storage/schedules.h). `spec` is the server's; the rest says what
-- comes next and what came last. `due_at` is empty while paused.
CREATE TABLE schedules (
  name            TEXT PRIMARY KEY,
  revision        INTEGER NOT NULL,
  overlap         TEXT NOT NULL,  -- allow skip queue cancel
  paused          INTEGER NOT NULL,
  next_tick       INTEGER,
  due_at          INTEGER,
  last_tick       INTEGER,
  last_run        INTEGER,        -- may be gone meanwhile
  last_started_at INTEGER,
  last_skipped_at INTEGER,
  started         INTEGER NOT NULL,
  skipped         INTEGER NOT NULL,
  missed          INTEGER NOT NULL,
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL,
  spec            TEXT NOT NULL
);
CREATE INDEX schedules_due ON schedules (due_at) WHERE due_at IS NOT NULL;
