-- Task functions, runs, their stack runs and what belongs to them. migrations/README.md says what
-- each index is for and why the run's moving parts are on its root stack run.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE task_functions (
  id           INTEGER PRIMARY KEY,
  name         TEXT NOT NULL,
  version      INTEGER NOT NULL,
  code_sha256  TEXT NOT NULL,
  created_at   INTEGER NOT NULL,
  description  TEXT,
  input_schema TEXT,
  options      TEXT,
  code         TEXT NOT NULL,
  UNIQUE (name, version)
);

-- Written when a run is accepted, started, paused, resumed and ended: never per call, so that a
-- large input is not rewritten with every call.
CREATE TABLE task_runs (
  id                  INTEGER PRIMARY KEY,
  task_function_id    INTEGER NOT NULL REFERENCES task_functions (id),
  root_stack_run_id   INTEGER NOT NULL REFERENCES stack_runs (id) DEFERRABLE INITIALLY DEFERRED,
  status              TEXT NOT NULL,  -- queued running paused completed failed cancelled
  straggling          INTEGER,        -- 1: ended while calls of it were unfinished, and some still are
  priority            INTEGER NOT NULL,
  parent_stack_run_id INTEGER REFERENCES stack_runs (id) DEFERRABLE INITIALLY DEFERRED,
  created_at          INTEGER NOT NULL,
  updated_at          INTEGER NOT NULL,
  started_at          INTEGER,
  ended_at            INTEGER,
  task_name           TEXT NOT NULL,
  task_version        INTEGER NOT NULL,
  idempotency_key     TEXT,
  request_hash        TEXT,
  queue_key           TEXT,
  seed                BLOB NOT NULL,
  tags                TEXT,
  pause_reason        TEXT,
  pause_detail        TEXT,
  input               TEXT NOT NULL,
  result              TEXT,
  error               TEXT
);
CREATE UNIQUE INDEX task_runs_idempotency ON task_runs (idempotency_key)
  WHERE idempotency_key IS NOT NULL;
CREATE INDEX task_runs_status ON task_runs (status);
CREATE INDEX task_runs_name ON task_runs (task_name);
CREATE INDEX task_runs_straggling ON task_runs (straggling) WHERE straggling IS NOT NULL;

CREATE TABLE stack_runs (
  id                  INTEGER PRIMARY KEY,
  task_run_id         INTEGER NOT NULL REFERENCES task_runs (id) DEFERRABLE INITIALLY DEFERRED,
  seq                 INTEGER NOT NULL,  -- 0: the root
  parent_stack_run_id INTEGER REFERENCES stack_runs (id) DEFERRABLE INITIALLY DEFERRED,
  status              TEXT NOT NULL,  -- pending processing suspended_waiting_child paused completed failed cancelled
  epoch               INTEGER NOT NULL,
  attempt             INTEGER NOT NULL,
  priority            INTEGER NOT NULL,
  available_at        INTEGER NOT NULL,
  lease_owner         TEXT,     -- of the newest claim; means something only while processing
  lease_until         INTEGER,
  slice               INTEGER NOT NULL,  -- root: slices committed; call: the slice that issued it
  delivered_as        INTEGER NOT NULL,
  created_at          INTEGER NOT NULL,
  updated_at          INTEGER NOT NULL,
  started_at          INTEGER,
  ended_at            INTEGER,
  -- the root only: the state of its run
  journal_length      INTEGER,
  delivered_through   INTEGER,  -- journal position the last committed slice had seen
  call_count          INTEGER,
  open_calls          INTEGER,  -- calls without an end
  open_seq            INTEGER,  -- no call below this number is without an end
  log_count           INTEGER,
  crashes             INTEGER,
  waiting_on_stack_run_id INTEGER,
  -- calls only
  delivery            INTEGER,  -- 0 at_least_once, 1 at_most_once
  outcome_unknown     INTEGER,  -- 1: an at_most_once try was begun and lost
  source_line         INTEGER,
  via                 INTEGER,  -- 0 chain, 1 timer, 2 sweep, 3 manual
  hop_us              INTEGER,
  resume_kind         INTEGER,  -- 0 warm, 1 replay, 2 checkpoint (root: of its newest slice)
  resume_us           INTEGER,
  service_name        TEXT,
  method_name         TEXT,
  options             TEXT,
  args                TEXT,
  result              TEXT,
  error               TEXT
);
CREATE UNIQUE INDEX stack_runs_seq ON stack_runs (task_run_id, seq);
CREATE INDEX stack_runs_journal ON stack_runs (task_run_id, delivered_as) WHERE delivered_as > 0;
CREATE INDEX stack_runs_pending ON stack_runs (priority DESC, available_at, id)
  WHERE status = 'pending';

CREATE TABLE attempts (
  stack_run_id INTEGER NOT NULL REFERENCES stack_runs (id),
  epoch        INTEGER NOT NULL,
  attempt      INTEGER NOT NULL,
  node         TEXT,
  started_at   INTEGER,
  ended_at     INTEGER NOT NULL,
  outcome      TEXT NOT NULL,  -- failed lost released
  error        TEXT,
  PRIMARY KEY (stack_run_id, epoch)
) WITHOUT ROWID;

CREATE TABLE task_logs (
  task_run_id INTEGER NOT NULL REFERENCES task_runs (id),
  n           INTEGER NOT NULL,
  at          INTEGER NOT NULL,
  level       TEXT NOT NULL,
  message     TEXT NOT NULL,
  fields      TEXT,
  PRIMARY KEY (task_run_id, n)
) WITHOUT ROWID;

CREATE TABLE keystore (
  namespace  TEXT NOT NULL,
  key        TEXT NOT NULL,
  version    INTEGER NOT NULL,
  key_id     TEXT NOT NULL,
  updated_at INTEGER NOT NULL,
  sealed     BLOB NOT NULL,
  PRIMARY KEY (namespace, key)
) WITHOUT ROWID;

CREATE TABLE checkpoints (
  task_run_id INTEGER PRIMARY KEY REFERENCES task_runs (id),
  through     INTEGER NOT NULL,
  engine_tag  TEXT NOT NULL,
  codec       TEXT NOT NULL,
  data        BLOB NOT NULL
);

-- Runs as people and tools want to see them: with the status and counters that move with each call.
CREATE VIEW runs AS
SELECT t.id, t.task_name, t.task_version,
       CASE WHEN t.status = 'running' AND r.status = 'suspended_waiting_child'
            THEN r.status ELSE t.status END AS status,
       t.root_stack_run_id, r.waiting_on_stack_run_id, r.journal_length, r.call_count, r.log_count,
       t.pause_reason, t.created_at, max(t.updated_at, r.updated_at) AS updated_at, t.started_at,
       t.ended_at
  FROM task_runs t JOIN stack_runs r ON r.id = t.root_stack_run_id;
