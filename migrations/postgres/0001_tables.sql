-- Task functions, runs, their stack runs and what belongs to them. The tables mirror those of
-- SQLite (migrations/sqlite); migrations/postgres/README.md says what is different and why.
--
-- Rules that hold in every migration of this folder:
-- * Names are not qualified: a migration runs with search_path set to our schema, and each function
--   that a node calls keeps that path (SET search_path FROM CURRENT). It also plans without
--   sequential scans: a plan made while a table was small would be kept when it no longer is.
-- * Rows are locked in one order: the root stack run of a run, then its calls by seq, then its
--   task_runs row; after that the same of the parent run, never the other way round. Whoever needs
--   rows of several runs at once (extend, reap) skips those that are locked.
-- * Times are milliseconds since 1970 of the database server's clock.
-- * Strings that come from outside are bytea: they come back as they came, NUL and invalid UTF-8
--   included. There are no foreign keys: their checks would lock and rewrite a row of task_runs
--   with every call. Only the functions of these migrations write.

CREATE SEQUENCE task_function_ids;
CREATE SEQUENCE task_run_ids;
CREATE SEQUENCE stack_run_ids;

CREATE TABLE meta (
  key   text PRIMARY KEY,
  value bigint NOT NULL,
  token bigint
);

CREATE TABLE task_functions (
  id           bigint PRIMARY KEY,
  created_at   bigint NOT NULL,
  token        bigint NOT NULL,  -- of the publish that made it (README.md: unknown commits)
  version      integer NOT NULL,
  name         bytea NOT NULL,
  code_sha256  bytea NOT NULL,  -- lower-case hex
  description  bytea NOT NULL,
  input_schema bytea NOT NULL,
  options      bytea NOT NULL,
  code         bytea NOT NULL,
  UNIQUE (name, version)
);

-- Written when a run is accepted, started, paused, resumed and ended: never per call.
CREATE TABLE task_runs (
  id                  bigint PRIMARY KEY,
  task_function_id    bigint NOT NULL,
  root_stack_run_id   bigint NOT NULL,
  parent_stack_run_id bigint,
  token               bigint NOT NULL,  -- of the newest submit, cancel, pause or resume
  created_at          bigint NOT NULL,
  updated_at          bigint NOT NULL,
  started_at          bigint,
  ended_at            bigint,
  priority            integer NOT NULL,
  task_version        integer NOT NULL,
  status              text NOT NULL,  -- queued running paused completed failed cancelled
  task_name           bytea NOT NULL,
  idempotency_key     bytea,
  request_hash        bytea,
  queue_key           bytea,
  seed                bytea NOT NULL,
  tags                bytea,
  pause_reason        bytea,
  pause_detail        bytea,
  input               bytea NOT NULL,
  result              bytea,
  error               bytea
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02,
        autovacuum_analyze_scale_factor = 0.05);
CREATE UNIQUE INDEX task_runs_idempotency ON task_runs (idempotency_key)
  WHERE idempotency_key IS NOT NULL;
CREATE INDEX task_runs_status ON task_runs (status, id);
CREATE INDEX task_runs_name ON task_runs (task_name, id);

-- No index names a column that changes while a call is handed from transition to transition on one
-- node (status, epoch, lease_until, …), so those updates stay on their page (HOT) and write to no
-- index. Two columns say, in an index each, where work is to be looked for:
--   ready_at  the row may be claimed: available_at of a pending row, or of one whose lease was seen
--             to have ended (reap). NULL: nothing to claim here.
--   watch_at  no lease that this row answers for ends before that moment. A root answers for its
--             own lease and for those of calls that have no watch_at of their own; a call that was
--             claimed answers for itself. Never later than the truth, often earlier: reap then
--             moves it on. NULL: no lease to watch.
CREATE TABLE stack_runs (
  id                  bigint PRIMARY KEY,
  task_run_id         bigint NOT NULL,
  seq                 bigint NOT NULL,  -- 0: the root
  parent_stack_run_id bigint,           -- a call: its root; a root: the call that waits for its run
  epoch               bigint NOT NULL,
  token               bigint NOT NULL,  -- of the newest transition that claimed or ended a claim
  available_at        bigint NOT NULL,
  lease_until         bigint,           -- of the newest claim; means something while processing
  ready_at            bigint,
  watch_at            bigint,
  slice               bigint NOT NULL,  -- root: slices committed; call: the slice that issued it
  delivered_as        bigint NOT NULL,
  created_at          bigint NOT NULL,
  updated_at          bigint NOT NULL,
  started_at          bigint,
  ended_at            bigint,
  hop_us              bigint,
  resume_us           bigint,
  -- the root only: the state of its run
  journal_length      bigint,
  delivered_through   bigint,  -- journal position the last committed slice had seen
  undelivered_seq     bigint,  -- no outcome after delivered_through is of a call below this number
  call_count          bigint,
  open_calls          bigint,  -- calls without an end
  open_seq            bigint,  -- no call below this number is without an end
  log_count           bigint,
  waiting_on_stack_run_id bigint,
  task_function_id    bigint,
  priority            integer NOT NULL,
  attempt             integer NOT NULL,
  crashes             integer,
  source_line         integer,
  delivery            smallint,  -- 0 at_least_once, 1 at_most_once
  via                 smallint,  -- 0 chain, 1 timer, 2 sweep, 3 manual
  resume_kind         smallint,  -- 0 warm, 1 replay, 2 checkpoint (root: of its newest slice)
  outcome_unknown     boolean NOT NULL DEFAULT false,  -- an at_most_once try was begun and lost
  run_paused          boolean NOT NULL DEFAULT false,  -- root: task_runs.status is paused
  -- pending processing suspended_waiting_child paused completed failed cancelled
  status              text NOT NULL,
  lease_owner         text,
  task_name           bytea,
  service_name        bytea,
  method_name         bytea,
  options             bytea,
  args                bytea,
  result              bytea,
  error               bytea
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.01,
        autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
CREATE UNIQUE INDEX stack_runs_seq ON stack_runs (task_run_id, seq);
CREATE INDEX stack_runs_ready ON stack_runs (priority DESC, ready_at, id)
  WHERE ready_at IS NOT NULL;
CREATE INDEX stack_runs_watch ON stack_runs (watch_at) WHERE watch_at IS NOT NULL;

CREATE TABLE attempts (
  stack_run_id bigint NOT NULL,
  epoch        bigint NOT NULL,
  token        bigint NOT NULL,
  started_at   bigint,
  ended_at     bigint NOT NULL,
  attempt      integer NOT NULL,
  node         text,
  outcome      text NOT NULL,  -- failed lost released
  error        bytea,
  PRIMARY KEY (stack_run_id, epoch)
);

CREATE TABLE task_logs (
  task_run_id bigint NOT NULL,
  n           bigint NOT NULL,
  at          bigint NOT NULL,
  level       bytea NOT NULL,
  message     bytea NOT NULL,
  fields      bytea,
  PRIMARY KEY (task_run_id, n)
);

CREATE TABLE keystore (
  version    bigint NOT NULL,
  updated_at bigint NOT NULL,
  token      bigint NOT NULL,
  namespace  bytea NOT NULL,
  key        bytea NOT NULL,
  key_id     bytea NOT NULL,
  sealed     bytea NOT NULL,
  PRIMARY KEY (namespace, key)
);

CREATE TABLE checkpoints (
  task_run_id bigint PRIMARY KEY,
  through     bigint NOT NULL,
  engine_tag  bytea NOT NULL,
  codec       text NOT NULL,
  data        bytea NOT NULL
);

-- Runs and stack runs as people and tools want to see them. encode(…, 'escape') shows any bytes.
CREATE VIEW runs AS
SELECT t.id, encode(t.task_name, 'escape') AS task_name, t.task_version,
       CASE WHEN t.status = 'running' AND r.status = 'suspended_waiting_child'
            THEN r.status ELSE t.status END AS status,
       t.root_stack_run_id, r.waiting_on_stack_run_id, r.journal_length, r.call_count, r.log_count,
       encode(t.pause_reason, 'escape') AS pause_reason, t.created_at,
       greatest(t.updated_at, r.updated_at) AS updated_at, t.started_at, t.ended_at
  FROM task_runs t JOIN stack_runs r ON r.id = t.root_stack_run_id;

CREATE VIEW calls AS
SELECT id, task_run_id, seq, encode(service_name, 'escape') AS service_name,
       encode(method_name, 'escape') AS method_name, status, attempt, epoch, lease_owner,
       lease_until, available_at, delivered_as, encode(args, 'escape') AS args,
       encode(result, 'escape') AS result, encode(error, 'escape') AS error, created_at,
       updated_at, started_at, ended_at
  FROM stack_runs WHERE seq > 0;
