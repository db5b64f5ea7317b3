-- expand
-- Queues: how many runs of a task, and of a key within it, may be at work.
-- the queues migration of migrations/postgres says what the columns mean; here one writer holds every lock.

CREATE TABLE queues (
  task            TEXT PRIMARY KEY,
  updated_at      INTEGER NOT NULL,
  concurrency     INTEGER,
  key_concurrency INTEGER,
  rate_starts     INTEGER,
  rate_ms         INTEGER,
  key_rate_starts INTEGER,
  key_rate_ms     INTEGER,
  running         INTEGER NOT NULL DEFAULT 0,
  waiting         INTEGER NOT NULL DEFAULT 0,
  steps           INTEGER NOT NULL DEFAULT 0,
  limited         INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE queue_keys (
  task       TEXT NOT NULL,
  key        TEXT NOT NULL,
  running    INTEGER NOT NULL,
  waiting    INTEGER NOT NULL,
  turn       INTEGER NOT NULL,
  not_before INTEGER,
  priority   INTEGER NOT NULL,
  ready      INTEGER NOT NULL,
  PRIMARY KEY (task, key)
) WITHOUT ROWID;
CREATE INDEX queue_keys_ready ON queue_keys (task, priority DESC, turn) WHERE ready = 1;
CREATE INDEX queue_keys_later ON queue_keys (task, not_before) WHERE not_before IS NOT NULL;

CREATE TABLE queue_runs (
  run      INTEGER PRIMARY KEY,
  root     INTEGER NOT NULL,
  place    INTEGER NOT NULL,
  since    INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  state    INTEGER NOT NULL,
  task     TEXT NOT NULL,
  key      TEXT NOT NULL
);
CREATE INDEX queue_runs_line ON queue_runs (task, key, priority DESC, place) WHERE state = 1;
CREATE INDEX queue_runs_state ON queue_runs (task, state, place);

CREATE TABLE queue_starts (
  task TEXT NOT NULL,
  at   INTEGER NOT NULL,
  run  INTEGER NOT NULL,
  key  TEXT NOT NULL,
  PRIMARY KEY (task, at, run)
) WITHOUT ROWID;
CREATE INDEX queue_starts_key ON queue_starts (task, key, at);
