-- expand
-- Queues: how many runs of a task, and of a key within it, may be at work. README.md says how.

-- A task that has, or had, limits or runs with a queue key. Whoever admits a run, or puts one in
-- line, holds this row's lock, and changes what else is here but for run_over (below).
CREATE TABLE queues (
  task            bytea PRIMARY KEY,
  updated_at      bigint NOT NULL,
  concurrency     bigint,
  key_concurrency bigint,
  rate_starts     bigint,
  rate_ms         bigint,
  key_rate_starts bigint,
  key_rate_ms     bigint,
  running         bigint NOT NULL DEFAULT 0,  -- admitted, and not settled after their end
  waiting         bigint NOT NULL DEFAULT 0,
  steps           bigint NOT NULL DEFAULT 0,  -- counts lining up and admitting: places and turns
  limited         boolean NOT NULL DEFAULT false  -- concurrency or rate: every run is in the queue
) WITH (fillfactor = 50);

-- The keys of which runs wait or are at work; '' for runs without one.
CREATE TABLE queue_keys (
  task       bytea NOT NULL,
  key        bytea NOT NULL,
  running    bigint NOT NULL,
  waiting    bigint NOT NULL,
  turn       bigint NOT NULL,   -- the step when it last was admitted from, or began to wait
  not_before bigint,            -- its rate lets none begin until then
  priority   integer NOT NULL,  -- of the first that waits, or higher
  ready      boolean NOT NULL,  -- true if one of it may begin by its own limits; perhaps if not
  PRIMARY KEY (task, key)
) WITH (fillfactor = 50);
CREATE INDEX queue_keys_ready ON queue_keys (task, priority DESC, turn) WHERE ready;
CREATE INDEX queue_keys_later ON queue_keys (task, not_before) WHERE not_before IS NOT NULL;
CREATE INDEX queue_keys_idle ON queue_keys (task) WHERE running = 0 AND waiting = 0;

-- The runs in the queues, until they have ended and that has been settled. state: 0 delayed,
-- 1 waiting, 2 admitted; 3, 4, 5 the same, ended.
CREATE TABLE queue_runs (
  run      bigint PRIMARY KEY,
  root     bigint NOT NULL,
  place    bigint NOT NULL,  -- delayed: when it lines up; else the step when it did
  since    bigint NOT NULL,  -- when it came into this state
  token    bigint NOT NULL,  -- of its admission
  priority integer NOT NULL,
  state    smallint NOT NULL,
  task     bytea NOT NULL,
  key      bytea NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX queue_runs_line ON queue_runs (task, key, priority DESC, place) WHERE state = 1;
CREATE INDEX queue_runs_state ON queue_runs (task, state, place, run);

-- When runs were admitted, as far back as a rate looks.
CREATE TABLE queue_starts (
  task bytea NOT NULL,
  key  bytea NOT NULL,
  at   bigint NOT NULL,
  run  bigint NOT NULL,
  PRIMARY KEY (task, at, run)
);
CREATE INDEX queue_starts_key ON queue_starts (task, key, at);

-- When a root is due that waits to be admitted.
CREATE FUNCTION queue_parked() RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT 253402300799000
$$;

-- The row, locked.
CREATE FUNCTION queue_lock(p_task bytea, p_now bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM queues WHERE task = p_task FOR UPDATE;
  IF FOUND THEN RETURN; END IF;
  INSERT INTO queues (task, updated_at) VALUES (p_task, now_ms(p_now))
  ON CONFLICT (task) DO NOTHING;
  PERFORM 1 FROM queues WHERE task = p_task FOR UPDATE;
END $$;

-- At the end of its key's line. The run's row is there.
CREATE FUNCTION queue_line_up(p_now bigint, p_task bytea, p_key bytea, p_priority integer,
    p_run bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_step bigint;
BEGIN
  UPDATE queues SET waiting = waiting + 1, steps = steps + 1 WHERE task = p_task
  RETURNING steps INTO v_step;
  UPDATE queue_runs SET state = 1, place = v_step, since = p_now WHERE run = p_run;
  INSERT INTO queue_keys AS k (task, key, running, waiting, turn, priority, ready)
  VALUES (p_task, p_key, 0, 1, v_step, p_priority, true)
  ON CONFLICT (task, key) DO UPDATE SET waiting = k.waiting + 1,
     priority = CASE WHEN k.waiting = 0 THEN p_priority ELSE greatest(k.priority, p_priority) END,
     turn = CASE WHEN k.waiting = 0 THEN v_step ELSE k.turn END,
     ready = k.ready OR k.waiting = 0;
END $$;

-- It counts from now on.
CREATE FUNCTION queue_begin(p_now bigint, p_task bytea, p_key bytea, p_priority integer,
    p_run bigint, p_rated boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_step bigint;
BEGIN
  UPDATE queues SET running = running + 1, steps = steps + 1 WHERE task = p_task
  RETURNING steps INTO v_step;
  INSERT INTO queue_keys AS k (task, key, running, waiting, turn, priority, ready)
  VALUES (p_task, p_key, 1, 0, v_step, p_priority, false)
  ON CONFLICT (task, key) DO UPDATE SET running = k.running + 1, turn = v_step;
  IF p_rated THEN
    INSERT INTO queue_starts (task, key, at, run) VALUES (p_task, p_key, p_now, p_run);
  END IF;
END $$;

-- When a rate lets the next one begin; NULL: now. p_key NULL: the task's rate.
CREATE FUNCTION queue_rate_next(p_now bigint, p_task bytea, p_key bytea, p_starts bigint,
    p_ms bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  v_at bigint;  -- of the p_starts-th last
BEGIN
  IF p_starts IS NULL THEN RETURN NULL; END IF;
  IF p_key IS NULL THEN
    SELECT at INTO v_at FROM queue_starts WHERE task = p_task
     ORDER BY at DESC OFFSET p_starts - 1 LIMIT 1;
  ELSE
    SELECT at INTO v_at FROM queue_starts WHERE task = p_task AND key = p_key
     ORDER BY at DESC OFFSET p_starts - 1 LIMIT 1;
  END IF;
  RETURN CASE WHEN v_at > p_now - p_ms THEN v_at + p_ms END;
END $$;

-- What has happened since, and what is due, gets into the counters and lines, a bounded number of
-- each. Whether there is more. The queue is locked; a row that is just being ended is left alone.
CREATE FUNCTION queue_settle(p_now bigint, p_task bytea) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  q queues;
  d record;
  v_over integer;
  v_due integer := 0;
BEGIN
  WITH ended AS MATERIALIZED (
    SELECT run FROM queue_runs WHERE task = p_task AND state >= 3
     ORDER BY state, place, run LIMIT 500 FOR UPDATE SKIP LOCKED),
  gone AS (
    DELETE FROM queue_runs x USING ended WHERE x.run = ended.run RETURNING x.key, x.state),
  sums AS (
    SELECT key, count(*) AS n, count(*) FILTER (WHERE state = 4) AS waited,
           count(*) FILTER (WHERE state = 5) AS ran FROM gone GROUP BY key),
  keys AS (
    UPDATE queue_keys k SET waiting = k.waiting - s.waited, running = k.running - s.ran,
           ready = k.waiting > s.waited, not_before = NULL
      FROM sums s WHERE k.task = p_task AND k.key = s.key),
  total AS (
    SELECT coalesce(sum(n), 0) AS n, coalesce(sum(waited), 0) AS waited,
           coalesce(sum(ran), 0) AS ran FROM sums),
  counted AS (
    UPDATE queues x SET waiting = x.waiting - t.waited, running = x.running - t.ran
      FROM total t WHERE x.task = p_task AND t.n > 0)
  SELECT n INTO v_over FROM total;
  IF v_over > 0 THEN
    DELETE FROM queue_keys WHERE task = p_task AND running = 0 AND waiting = 0;
  END IF;
  FOR d IN SELECT run, key, priority FROM queue_runs
            WHERE task = p_task AND state = 0 AND place <= p_now
            ORDER BY place, run LIMIT 500 FOR UPDATE SKIP LOCKED LOOP
    PERFORM queue_line_up(p_now, p_task, d.key, d.priority, d.run);
    v_due := v_due + 1;
  END LOOP;
  UPDATE queue_keys SET ready = waiting > 0, not_before = NULL
   WHERE task = p_task AND not_before <= p_now;
  SELECT * INTO q FROM queues WHERE task = p_task;
  IF q.rate_starts IS NOT NULL OR q.key_rate_starts IS NOT NULL THEN
    DELETE FROM queue_starts WHERE task = p_task AND at <= p_now - greatest(q.rate_ms, q.key_rate_ms);
    -- The clock was set back: they count as of now.
    UPDATE queue_starts SET at = p_now WHERE task = p_task AND at > p_now;
  END IF;
  RETURN v_over = 500 OR v_due = 500;
END $$;

-- A run was submitted into the queue: when it began, if it may at once; else NULL.
CREATE FUNCTION queue_enter(p_now bigint, p_task bytea, p_key bytea, p_priority integer,
    p_run bigint, p_root bigint, p_delay bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  v_now bigint;
  v_free boolean;
  q queues;
BEGIN
  PERFORM queue_lock(p_task, p_now);
  v_now := now_ms(p_now);  -- not before what others decided under this lock
  PERFORM queue_settle(v_now, p_task);
  SELECT * INTO q FROM queues WHERE task = p_task;
  v_free := p_delay <= 0 AND (q.concurrency IS NULL OR q.running < q.concurrency)
    AND NOT EXISTS (SELECT 1 FROM queue_keys WHERE task = p_task AND key = p_key
                       AND (waiting > 0 OR (p_key <> '' AND
                                            running >= coalesce(q.key_concurrency, 1))))
    AND NOT (q.limited AND EXISTS (SELECT 1 FROM queue_keys WHERE task = p_task AND ready))
    AND queue_rate_next(v_now, p_task, NULL, q.rate_starts, q.rate_ms) IS NULL
    AND (p_key = ''
         OR queue_rate_next(v_now, p_task, p_key, q.key_rate_starts, q.key_rate_ms) IS NULL);
  INSERT INTO queue_runs (run, root, place, since, token, priority, state, task, key)
  VALUES (p_run, p_root, CASE WHEN p_delay > 0 THEN v_now + p_delay ELSE 0 END, v_now, 0,
          p_priority, CASE WHEN p_delay > 0 THEN 0 WHEN v_free THEN 2 ELSE 1 END, p_task, p_key);
  IF v_free THEN
    PERFORM queue_begin(v_now, p_task, p_key, p_priority, p_run,
                        q.rate_starts IS NOT NULL OR q.key_rate_starts IS NOT NULL);
  ELSIF p_delay <= 0 THEN
    PERFORM queue_line_up(v_now, p_task, p_key, p_priority, p_run);
  END IF;
  RETURN CASE WHEN v_free THEN v_now END;
END $$;

-- The first that waits in the key may begin: makes its root runnable, claimed for p_node if there
-- is one. o_run NULL: not now, and the key's row says why.
CREATE FUNCTION queue_admit_first(p_now bigint, p_task bytea, p_key bytea, p_priority integer,
    p_token bigint, p_node text, p_lease bigint,
    OUT o_run bigint, OUT o_root bigint, OUT o_epoch bigint, OUT o_function bigint)
LANGUAGE plpgsql AS $$
DECLARE
  w record;
  s record;
BEGIN
  SELECT run, root, priority INTO w FROM queue_runs
   WHERE task = p_task AND key = p_key AND state = 1 ORDER BY priority DESC, place LIMIT 1;
  IF NOT FOUND THEN  -- those that are left have ended, and are settled soon
    UPDATE queue_keys SET ready = false WHERE task = p_task AND key = p_key;
    RETURN;
  ELSIF w.priority <> p_priority THEN
    UPDATE queue_keys SET priority = w.priority WHERE task = p_task AND key = p_key;
    RETURN;
  END IF;
  -- Never waits while it holds the queue: somebody is about to end, pause or resume the run.
  SELECT status, run_paused, task_function_id INTO s FROM stack_runs WHERE id = w.root
     FOR NO KEY UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    PERFORM 1 FROM stack_runs WHERE id = w.root;
    IF FOUND THEN
      UPDATE queue_keys SET ready = false, not_before = p_now + 50
       WHERE task = p_task AND key = p_key;
    ELSE  -- deleted by a program that knows of no queues
      UPDATE queue_runs SET state = 4 WHERE run = w.run;
    END IF;
    RETURN;
  END IF;
  UPDATE queue_runs SET state = 2, since = p_now, token = p_token WHERE run = w.run AND state = 1;
  IF NOT FOUND THEN RETURN; END IF;  -- it has just ended
  o_run := w.run;
  o_root := w.root;
  o_epoch := 0;
  o_function := s.task_function_id;
  IF s.status <> 'pending' OR s.run_paused THEN  -- paused: it begins when it is resumed
    UPDATE stack_runs SET available_at = p_now, updated_at = p_now WHERE id = w.root;
  ELSIF p_node = '' THEN
    UPDATE stack_runs SET available_at = p_now, ready_at = p_now, updated_at = p_now
     WHERE id = w.root;
  ELSE
    UPDATE stack_runs SET status = 'processing', epoch = epoch + 1, attempt = attempt + 1,
           available_at = p_now, lease_owner = p_node, lease_until = p_now + p_lease,
           started_at = p_now, updated_at = p_now, token = p_token, ready_at = NULL,
           watch_at = earlier(watch_at, p_now + p_lease)
     WHERE id = w.root RETURNING epoch INTO o_epoch;
    UPDATE task_runs SET status = 'running', started_at = p_now, updated_at = p_now
     WHERE id = w.run AND status = 'queued';
  END IF;
  UPDATE queues SET waiting = waiting - 1 WHERE task = p_task;
  UPDATE queue_keys SET waiting = waiting - 1, ready = waiting > 1
   WHERE task = p_task AND key = p_key;
END $$;

-- Admits what may begin, p_max at most; the first p_claims of them are claimed. An epoch of 0: it is
-- not. o_next_in: when time alone lets the next begin, or may.
CREATE FUNCTION queue_admit_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_task bytea, p_node text, p_lease bigint, p_claims integer, p_max integer,
    OUT o_runs bigint[], OUT o_roots bigint[], OUT o_epochs bigint[], OUT o_functions bigint[],
    OUT o_lease_until bigint, OUT o_more boolean, OUT o_next_in bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint;
  v_room bigint;
  v_next bigint;
  v_rated boolean;
  q queues;
  k record;
  a record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_runs := '{}';
  o_roots := '{}';
  o_epochs := '{}';
  o_functions := '{}';
  o_more := false;
  PERFORM 1 FROM queues WHERE task = p_task FOR UPDATE;
  IF NOT FOUND THEN RETURN; END IF;
  v_now := now_ms(p_now);
  o_lease_until := v_now + p_lease;
  IF p_again THEN
    WITH mine AS (
      UPDATE stack_runs s SET lease_until = o_lease_until FROM queue_runs x
       WHERE x.task = p_task AND x.state = 2 AND x.token = p_token AND s.id = x.root
         AND s.token = p_token AND s.status = 'processing' AND s.lease_owner = p_node
      RETURNING x.run, s.id, s.epoch, s.task_function_id)
    SELECT coalesce(array_agg(run ORDER BY run), '{}'), coalesce(array_agg(id ORDER BY run), '{}'),
           coalesce(array_agg(epoch ORDER BY run), '{}'),
           coalesce(array_agg(task_function_id ORDER BY run), '{}')
      INTO o_runs, o_roots, o_epochs, o_functions FROM mine;
    o_more := true;
    RETURN;
  END IF;
  o_more := queue_settle(v_now, p_task);
  SELECT * INTO q FROM queues WHERE task = p_task;
  v_rated := q.rate_starts IS NOT NULL OR q.key_rate_starts IS NOT NULL;
  IF q.rate_starts IS NOT NULL THEN
    SELECT q.rate_starts - count(*) INTO v_room FROM (
      SELECT 1 FROM queue_starts WHERE task = p_task AND at > v_now - q.rate_ms
       ORDER BY at DESC LIMIT q.rate_starts) x;
  END IF;
  FOR i IN 1 .. p_max + 1000 LOOP
    IF cardinality(o_runs) >= p_max OR i = p_max + 1000 THEN o_more := true; END IF;
    EXIT WHEN cardinality(o_runs) >= p_max OR q.running >= q.concurrency;
    SELECT key, running, priority INTO k FROM queue_keys WHERE task = p_task AND ready
     ORDER BY priority DESC, turn LIMIT 1;
    EXIT WHEN NOT FOUND;
    IF v_room <= 0 THEN
      o_next_in := queue_rate_next(v_now, p_task, NULL, q.rate_starts, q.rate_ms);
      EXIT;
    END IF;
    IF k.key <> '' THEN
      v_next := queue_rate_next(v_now, p_task, k.key, q.key_rate_starts, q.key_rate_ms);
      IF k.running >= coalesce(q.key_concurrency, 1) OR v_next IS NOT NULL THEN
        UPDATE queue_keys SET ready = false,
               not_before = CASE WHEN k.running < coalesce(q.key_concurrency, 1) THEN v_next END
         WHERE task = p_task AND key = k.key;
        CONTINUE;
      END IF;
    END IF;
    SELECT * INTO a FROM queue_admit_first(v_now, p_task, k.key, k.priority, p_token,
        CASE WHEN cardinality(o_runs) < p_claims THEN p_node ELSE '' END, p_lease);
    CONTINUE WHEN a.o_run IS NULL;
    PERFORM queue_begin(v_now, p_task, k.key, k.priority, a.o_run, v_rated);
    q.running := q.running + 1;
    v_room := v_room - 1;
    o_runs := o_runs || a.o_run;
    o_roots := o_roots || a.o_root;
    o_epochs := o_epochs || a.o_epoch;
    o_functions := o_functions || a.o_function;
  END LOOP;
  SELECT least(o_next_in, (SELECT min(not_before) FROM queue_keys
                            WHERE task = p_task AND not_before IS NOT NULL),
               (SELECT min(place) FROM queue_runs WHERE task = p_task AND state = 0)) - v_now
    INTO o_next_in;
END $$;

-- Tasks with runs in their queue; o_open: some wait, or have ended since.
CREATE FUNCTION queue_due_v1(OUT o_task bytea, OUT o_open boolean) RETURNS SETOF record
LANGUAGE sql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
  SELECT q.task, EXISTS (SELECT 1 FROM queue_runs x WHERE x.task = q.task AND x.state < 2)
                 OR EXISTS (SELECT 1 FROM queue_runs x WHERE x.task = q.task AND x.state > 2)
    FROM queues q WHERE EXISTS (SELECT 1 FROM queue_runs x WHERE x.task = q.task)
   ORDER BY q.task LIMIT 10000
$$;

-- p_mask: which to change, 1 concurrency, 2 key_concurrency, 4 rate, 8 key_rate. Below 0: none.
-- Answers the limits as they are then, below 0 for none.
CREATE FUNCTION queue_change_v1(p_now bigint, p_lock_ms integer, p_task bytea, p_mask integer,
    p_concurrency bigint, p_key_concurrency bigint, p_starts bigint, p_ms bigint,
    p_key_starts bigint, p_key_ms bigint,
    OUT o_concurrency bigint, OUT o_key_concurrency bigint, OUT o_starts bigint, OUT o_ms bigint,
    OUT o_key_starts bigint, OUT o_key_ms bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  q queues;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  PERFORM queue_lock(p_task, p_now);
  SELECT * INTO q FROM queues WHERE task = p_task;
  IF p_mask & 1 > 0 THEN q.concurrency := CASE WHEN p_concurrency >= 0 THEN p_concurrency END; END IF;
  IF p_mask & 2 > 0 THEN
    q.key_concurrency := CASE WHEN p_key_concurrency >= 0 THEN p_key_concurrency END;
  END IF;
  IF p_mask & 4 > 0 THEN
    q.rate_starts := CASE WHEN p_starts >= 0 THEN p_starts END;
    q.rate_ms := CASE WHEN p_starts >= 0 THEN p_ms END;
  END IF;
  IF p_mask & 8 > 0 THEN
    q.key_rate_starts := CASE WHEN p_key_starts >= 0 THEN p_key_starts END;
    q.key_rate_ms := CASE WHEN p_key_starts >= 0 THEN p_key_ms END;
  END IF;
  UPDATE queues SET concurrency = q.concurrency, key_concurrency = q.key_concurrency,
         rate_starts = q.rate_starts, rate_ms = q.rate_ms, key_rate_starts = q.key_rate_starts,
         key_rate_ms = q.key_rate_ms, updated_at = now_ms(p_now),
         limited = q.concurrency IS NOT NULL OR q.rate_starts IS NOT NULL
   WHERE task = p_task;
  IF q.rate_starts IS NULL AND q.key_rate_starts IS NULL THEN
    DELETE FROM queue_starts WHERE task = p_task;
  END IF;
  -- Each key is judged anew by the next admission.
  UPDATE queue_keys SET ready = waiting > 0, not_before = NULL WHERE task = p_task;
  o_concurrency := q.concurrency;
  o_key_concurrency := q.key_concurrency;
  o_starts := q.rate_starts;
  o_ms := q.rate_ms;
  o_key_starts := q.key_rate_starts;
  o_key_ms := q.key_rate_ms;
END $$;

-- p_one: of p_task alone; else those after it that have limits or runs.
CREATE FUNCTION queue_list_v1(p_now bigint, p_task bytea, p_one boolean, p_limit integer,
    OUT o_task bytea, OUT o_concurrency bigint, OUT o_key_concurrency bigint, OUT o_starts bigint,
    OUT o_ms bigint, OUT o_key_starts bigint, OUT o_key_ms bigint, OUT o_running bigint,
    OUT o_waiting bigint, OUT o_oldest_ms bigint) RETURNS SETOF record
LANGUAGE sql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
  SELECT q.task, q.concurrency, q.key_concurrency, q.rate_starts, q.rate_ms, q.key_rate_starts,
         q.key_rate_ms, q.running, q.waiting,
         greatest(now_ms(p_now) - (SELECT x.since FROM queue_runs x
                                    WHERE x.task = q.task AND x.state = 1 ORDER BY x.place LIMIT 1),
                  0)
    FROM queues q
   WHERE CASE WHEN p_one THEN q.task = p_task
              ELSE q.task > p_task AND (q.running > 0 OR q.waiting > 0 OR q.limited OR
                                        q.key_concurrency IS NOT NULL OR
                                        q.key_rate_starts IS NOT NULL) END
   ORDER BY q.task LIMIT p_limit
$$;

CREATE FUNCTION queue_keys_v1(p_task bytea, p_first boolean, p_after bytea, p_limit integer,
    OUT o_key bytea, OUT o_running bigint, OUT o_waiting bigint) RETURNS SETOF record
LANGUAGE sql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
  SELECT key, running, waiting FROM queue_keys
   WHERE task = p_task AND (p_first OR key > p_after) ORDER BY key LIMIT p_limit
$$;

-- Which of these runs wait to be admitted.
CREATE FUNCTION queue_waiting_v1(p_runs bigint[], OUT o_runs bigint[])
LANGUAGE sql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
  SELECT coalesce(array_agg(run), '{}') FROM queue_runs WHERE run = ANY (p_runs) AND state = 1
$$;

-- As in 0008, but for runs that go into a queue.
CREATE OR REPLACE FUNCTION submit_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_floor bigint, p_function bigint, p_task_name bytea, p_version integer, p_input bytea,
    p_key bytea, p_hash bytea, p_priority integer, p_queue_key bytea, p_tags bytea,
    p_parent bigint, p_delay bigint, p_seed bytea, p_node text, p_lease bigint,
    OUT o_code text, OUT o_message text, OUT o_run bigint, OUT o_root bigint, OUT o_status text,
    OUT o_created_at bigint, OUT o_existing boolean, OUT o_lease_until bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_claimed boolean := p_node <> '' AND p_delay <= 0;
  v_at bigint := v_now + greatest(p_delay, 0);
  v_queued boolean := p_queue_key <> '';
  v_begun bigint;
  t record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  o_existing := false;
  -- A try whose connection broke may still be at work on the server: this one waits for its end.
  PERFORM pg_advisory_xact_lock(p_token);
  IF p_again THEN
    SELECT id, root_stack_run_id, created_at INTO t FROM task_runs
     WHERE id > p_floor AND token = p_token ORDER BY id LIMIT 1;
    IF FOUND THEN
      o_run := t.id;
      o_root := t.root_stack_run_id;
      o_created_at := t.created_at;
      UPDATE stack_runs SET lease_until = v_now + p_lease
       WHERE id = o_root AND v_claimed AND epoch = 1 AND status = 'processing'
         AND token = p_token  -- not that of an admission
      RETURNING lease_until INTO o_lease_until;
      o_status := CASE WHEN o_lease_until IS NULL THEN 'queued' ELSE 'running' END;
      RETURN;
    END IF;
  END IF;
  IF NOT v_queued THEN
    PERFORM 1 FROM queues WHERE task = p_task_name AND limited;
    v_queued := FOUND;
  END IF;
  IF v_queued THEN v_claimed := false; END IF;  -- until it is admitted
  FOR i IN 1 .. 10 LOOP  -- again if another submit with that key was committed or undone meanwhile
    IF p_key <> '' THEN
      SELECT s.id, s.root_stack_run_id, s.created_at, s.request_hash,
             CASE WHEN s.status = 'running' AND r.status = 'suspended_waiting_child'
                  THEN r.status ELSE s.status END AS status
        INTO t FROM task_runs s JOIN stack_runs r ON r.id = s.root_stack_run_id
       WHERE s.idempotency_key = p_key;
      IF FOUND THEN
        o_run := t.id;
        IF t.request_hash IS DISTINCT FROM or_null(p_hash) THEN
          o_code := 'idempotency_conflict';
          o_message := 'this idempotency key belongs to task run ' || t.id
                       || ', which was submitted with a different request';
          RETURN;
        END IF;
        o_root := t.root_stack_run_id;
        o_status := t.status;
        o_created_at := t.created_at;
        o_existing := true;
        RETURN;
      END IF;
    END IF;
    PERFORM 1 FROM task_functions WHERE id = p_function;
    IF NOT FOUND THEN
      o_code := 'task_not_found';
      o_message := 'no task function has the id ' || p_function;
      RETURN;
    END IF;
    IF p_parent > 0 THEN
      PERFORM 1 FROM stack_runs WHERE id = p_parent;
      IF NOT FOUND THEN
        o_code := 'not_found';
        o_message := 'the parent call ' || p_parent || ' does not exist';
        RETURN;
      END IF;
    END IF;
    o_status := CASE WHEN v_claimed THEN 'running' ELSE 'queued' END;
    INSERT INTO task_runs (id, task_function_id, root_stack_run_id, parent_stack_run_id, token,
                           created_at, updated_at, started_at, priority, task_version, status,
                           task_name, idempotency_key, request_hash, queue_key, seed, tags, input)
    VALUES (nextval('task_run_ids'), p_function, nextval('stack_run_ids'), nullif(p_parent, 0),
            p_token, v_now, v_now, CASE WHEN v_claimed THEN v_now END, p_priority, p_version,
            o_status, p_task_name, or_null(p_key), or_null(p_hash), or_null(p_queue_key), p_seed,
            or_null(p_tags), p_input)
    ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id, root_stack_run_id INTO o_run, o_root;
    EXIT WHEN o_run IS NOT NULL;
  END LOOP;
  IF o_run IS NULL THEN
    o_code := 'unavailable';
    o_message := 'other submits with this idempotency key were under way: try again';
    RETURN;
  END IF;
  o_created_at := v_now;
  -- Last of all locks is that of the queue, so whoever holds it waits for nobody.
  IF v_queued THEN
    v_begun := queue_enter(p_now, p_task_name, p_queue_key, p_priority, o_run, o_root, p_delay);
    IF v_begun IS NULL THEN
      v_at := queue_parked();
    ELSIF p_node <> '' THEN
      v_now := v_begun;
      v_at := v_begun;
      v_claimed := true;
      o_status := 'running';
      UPDATE task_runs SET status = 'running', started_at = v_now WHERE id = o_run;
    END IF;
  END IF;
  IF v_claimed THEN o_lease_until := v_now + p_lease; END IF;
  INSERT INTO stack_runs (id, task_run_id, seq, parent_stack_run_id, epoch, token, available_at,
                          lease_owner, lease_until, ready_at, watch_at, slice, delivered_as,
                          created_at, updated_at, started_at, journal_length, delivered_through,
                          undelivered_seq, call_count, open_calls, open_seq, log_count,
                          task_function_id, priority, attempt, crashes, status, task_name)
  VALUES (o_root, o_run, 0, nullif(p_parent, 0), v_claimed::int, p_token, v_at,
          CASE WHEN v_claimed THEN p_node END, o_lease_until,
          CASE WHEN NOT v_claimed THEN v_at END, o_lease_until, 0, 0, o_created_at,
          v_now, CASE WHEN v_claimed THEN v_now END, 0, 0, 1, 0, 0, 1, 0, p_function, p_priority,
          v_claimed::int, 0, CASE WHEN v_claimed THEN 'processing' ELSE 'pending' END,
          p_task_name);
  PERFORM run_submitted(v_now, o_run, p_tags);
END $$;
