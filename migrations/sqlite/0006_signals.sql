-- expand
-- What runs are told from outside (storage/include/sequential/storage/signals.h). Rows of runs that
-- are over or gone mean nothing.

-- Every signal of a run, in the order in which they came. taken_seq: the call that got it; its
-- payload is that call's result then, and not here any more.
CREATE TABLE signals (
  id           INTEGER PRIMARY KEY,
  task_run_id  INTEGER NOT NULL,
  taken_seq    INTEGER,
  at           INTEGER NOT NULL,
  name         TEXT NOT NULL,
  key          TEXT,
  request_hash TEXT,
  payload      TEXT
);
CREATE INDEX signals_kept ON signals (task_run_id, name, id) WHERE taken_seq IS NULL;
CREATE UNIQUE INDEX signals_key ON signals (task_run_id, key) WHERE key IS NOT NULL;

-- Calls that wait for one, claimed by nobody.
CREATE TABLE signal_waits (
  task_run_id  INTEGER NOT NULL,
  name         TEXT NOT NULL,
  seq          INTEGER NOT NULL,
  stack_run_id INTEGER NOT NULL,
  PRIMARY KEY (task_run_id, name, seq)
) WITHOUT ROWID;

-- key: a hash of the secret in its address. The answer stays here, for each call that waits for it.
CREATE TABLE webhooks (
  key         TEXT PRIMARY KEY,
  task_run_id INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL,
  used_at     INTEGER,
  name        TEXT NOT NULL,
  rules       TEXT NOT NULL,
  payload     TEXT
) WITHOUT ROWID;
CREATE INDEX webhooks_run ON webhooks (task_run_id, name);
CREATE INDEX signals_run ON signals (task_run_id);
