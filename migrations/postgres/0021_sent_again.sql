-- expand
-- Transitions that are sent again, and calls that are dropped, when much has happened meanwhile.

-- The root's epoch as of the newest retry or change of code: slices of epochs up to it are no longer
-- part of the run.
ALTER TABLE task_runs ADD COLUMN rewound_epoch bigint NOT NULL DEFAULT 0;

CREATE OR REPLACE FUNCTION rewind_run(p_now bigint, p_token bigint, p_run bigint, p_function bigint,
    p_version integer) RETURNS void LANGUAGE sql AS $$
  UPDATE task_runs SET status = CASE WHEN started_at IS NULL THEN 'queued' ELSE 'running' END,
         task_function_id = p_function, task_version = p_version, rewinds = rewinds + 1,
         rewound_epoch = (SELECT r.epoch FROM stack_runs r WHERE r.id = root_stack_run_id),
         pause_reason = NULL, pause_detail = NULL, result = NULL, error = NULL, ended_at = NULL,
         updated_at = p_now, token = p_token
   WHERE id = p_run
$$;

-- Cancels those of the calls that are still open, unless the run was rewound after the slice of
-- p_epoch, which decided it. A root that has nothing left to wait for has something to do. Made
-- twice, the second time finds none.
CREATE FUNCTION drop_calls_v2(p_now bigint, p_lock_ms integer, p_run bigint, p_epoch bigint,
    p_seqs bigint[], OUT o_count bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_open bigint;
  v_first record;
  r record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_count := 0;
  SELECT id, status, open_calls, open_seq, call_count, available_at, ready_at, updated_at INTO r
    FROM stack_runs
   WHERE id = (SELECT x.root_stack_run_id FROM task_runs x WHERE x.id = p_run) FOR NO KEY UPDATE;
  IF NOT FOUND OR r.open_calls = 0 THEN RETURN; END IF;
  PERFORM 1 FROM task_runs WHERE id = p_run AND rewound_epoch >= p_epoch;
  IF FOUND THEN RETURN; END IF;
  UPDATE stack_runs SET status = 'cancelled', epoch = epoch + 1, updated_at = v_now,
         ended_at = v_now, ready_at = NULL, watch_at = NULL
   WHERE task_run_id = p_run AND seq = ANY (p_seqs) AND seq >= greatest(r.open_seq, 1)
     AND ended_at IS NULL;
  GET DIAGNOSTICS o_count = ROW_COUNT;
  IF o_count = 0 THEN RETURN; END IF;
  SELECT seq, id INTO v_first FROM stack_runs
   WHERE task_run_id = p_run AND seq >= greatest(r.open_seq, 1) AND ended_at IS NULL
   ORDER BY seq LIMIT 1;
  v_open := r.open_calls - o_count;
  IF r.status = 'suspended_waiting_child' AND v_open = 0 THEN
    r.status := 'pending';
    r.available_at := v_now;
    r.ready_at := v_now;
    r.updated_at := greatest(r.updated_at, v_now);
  END IF;
  UPDATE stack_runs SET open_calls = v_open, open_seq = coalesce(v_first.seq, r.call_count + 1),
         status = r.status, available_at = r.available_at, ready_at = r.ready_at,
         updated_at = r.updated_at,
         waiting_on_stack_run_id =
           CASE WHEN status = 'suspended_waiting_child' AND v_open = 1 THEN v_first.id END
   WHERE id = r.id;
END $$;

-- By nodes that do not tell the slice.
CREATE OR REPLACE FUNCTION drop_calls_v1(p_now bigint, p_lock_ms integer, p_run bigint,
    p_seqs bigint[], OUT o_count bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
BEGIN
  o_count := (SELECT x.o_count FROM drop_calls_v2(p_now, p_lock_ms, p_run, 9223372036854775807,
                                                  p_seqs) x);
END $$;

-- As in 0019, but for a root whose last calls were dropped.
CREATE OR REPLACE FUNCTION resume_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_run bigint, OUT o_code text, OUT o_message text, OUT o_ids bigint[])
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_has_work boolean;
  v_at bigint;
  v_waiting bigint;
  r record;
  t record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  SELECT id, open_seq, open_calls, status, slice, journal_length, delivered_through, available_at
    INTO r FROM stack_runs
   WHERE id = (SELECT x.root_stack_run_id FROM task_runs x WHERE x.id = p_run) FOR NO KEY UPDATE;
  SELECT status, token, started_at INTO t FROM task_runs WHERE id = p_run;
  IF t.status IS NULL THEN
    o_code := 'run_not_found';
    o_message := 'there is no task run ' || p_run;
    RETURN;
  END IF;
  IF p_again AND t.token = p_token THEN
    SELECT coalesce(array_agg(id ORDER BY seq), '{}') INTO o_ids FROM stack_runs
     WHERE task_run_id = p_run AND (seq = 0 OR seq >= r.open_seq) AND status = 'pending'
       AND available_at <= v_now;
    RETURN;
  END IF;
  IF t.status <> 'paused' THEN
    o_code := 'conflict';
    o_message := 'task run ' || p_run || ' is ' || t.status;
    RETURN;
  END IF;
  UPDATE stack_runs SET status = 'pending', ready_at = greatest(available_at, v_now),
         updated_at = v_now
   WHERE task_run_id = p_run AND seq >= greatest(r.open_seq, 1) AND status = 'paused';
  SELECT coalesce(array_agg(id ORDER BY seq)
                    FILTER (WHERE status <> 'processing' AND available_at <= v_now), '{}'),
         min(id) INTO o_ids, v_waiting FROM stack_runs
   WHERE task_run_id = p_run AND seq >= greatest(r.open_seq, 1) AND ended_at IS NULL;
  -- Leases that ended while it was paused are looked at again by the next full look.
  IF r.status = 'processing' THEN
    UPDATE stack_runs SET run_paused = false, watch_at = 0 WHERE id = r.id;
  ELSE
    -- It has something to do if it never ran to a suspension, has outcomes it has not seen, or
    -- nothing is left that it could wait for.
    v_has_work := r.slice = 0 OR r.journal_length > r.delivered_through OR r.open_calls = 0;
    -- Before its first slice it may have been submitted with a delay.
    v_at := CASE WHEN r.slice = 0 THEN r.available_at ELSE v_now END;
    UPDATE stack_runs SET available_at = v_at, crashes = 0, run_paused = false, updated_at = v_now,
           status = CASE WHEN v_has_work THEN 'pending' ELSE 'suspended_waiting_child' END,
           ready_at = CASE WHEN v_has_work THEN greatest(v_at, v_now) END, watch_at = 0,
           waiting_on_stack_run_id =
             CASE WHEN NOT v_has_work AND r.open_calls = 1 THEN v_waiting END
     WHERE id = r.id;
    IF v_has_work AND v_at <= v_now THEN o_ids := r.id || o_ids; END IF;
  END IF;
  UPDATE task_runs SET status = CASE WHEN t.started_at IS NULL THEN 'queued' ELSE 'running' END,
         pause_reason = NULL, pause_detail = NULL, updated_at = v_now, token = p_token
   WHERE id = p_run;
END $$;

-- Sent again, it finds its run also when the schedule has been fired again since.
CREATE OR REPLACE FUNCTION schedule_fire_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_name bytea, p_revision bigint, p_expected bigint, p_tick bigint, p_missed bigint,
    p_start boolean, p_next bigint, p_due bigint, p_overlap text,
    p_floor bigint, p_function bigint, p_task_name bytea, p_version integer, p_input bytea,
    p_key bytea, p_priority integer, p_queue_key bytea, p_tags bytea, p_seed bytea, p_node text,
    p_lease bigint,
    OUT o_code text, OUT o_message text, OUT o_done text, OUT o_previous bigint, OUT o_run bigint,
    OUT o_root bigint, OUT o_status text, OUT o_created_at bigint, OUT o_existing boolean,
    OUT o_lease_until bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  s schedules;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  PERFORM pg_advisory_xact_lock(p_token);  -- as in submit_v1
  IF p_again THEN  -- it may have started a run, and the schedule have gone on
    SELECT t.id, t.root_stack_run_id, t.status, t.created_at
      INTO o_run, o_root, o_status, o_created_at
      FROM task_runs t WHERE t.id > p_floor AND t.token = p_token ORDER BY t.id LIMIT 1;
    IF FOUND THEN
      o_done := 'started';
      o_existing := false;
      UPDATE stack_runs SET lease_until = v_now + p_lease
       WHERE id = o_root AND p_node <> '' AND epoch = 1 AND status = 'processing'
      RETURNING lease_until INTO o_lease_until;
      RETURN;
    END IF;
  END IF;
  SELECT * INTO s FROM schedules WHERE name = p_name FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    o_code := 'schedule_not_found';
    RETURN;
  END IF;
  IF p_again AND s.token = p_token THEN
    o_done := s.done;
    IF o_done = 'started' THEN
      SELECT t.id, t.root_stack_run_id, t.status, t.created_at, t.token <> p_token
        INTO o_run, o_root, o_status, o_created_at, o_existing
        FROM task_runs t WHERE t.id = s.last_run;
      UPDATE stack_runs SET lease_until = v_now + p_lease
       WHERE id = o_root AND p_node <> '' AND NOT o_existing AND epoch = 1
         AND status = 'processing'
      RETURNING lease_until INTO o_lease_until;
    END IF;
    RETURN;
  END IF;
  IF s.revision <> p_revision OR (p_expected <> 0 AND (s.next_tick IS DISTINCT FROM p_expected
                                  OR s.due_at IS NULL OR s.due_at > v_now)) THEN
    o_code := 'fenced';
    o_message := 'the schedule has gone on, or was changed';
    RETURN;
  END IF;
  IF NOT p_start THEN
    o_done := 'moved';
  ELSE
    IF p_overlap <> 'allow' THEN
      SELECT t.id INTO o_previous FROM task_runs t WHERE t.id = s.last_run AND t.ended_at IS NULL;
    END IF;
    IF o_previous IS NOT NULL THEN
      o_done := CASE WHEN p_overlap = 'skip' THEN 'skipped' ELSE 'blocked' END;
      IF o_done = 'blocked' OR p_expected = 0 THEN RETURN; END IF;
    ELSE
      SELECT x.o_code, x.o_message, x.o_run, x.o_root, x.o_status, x.o_created_at, x.o_existing,
             x.o_lease_until
        INTO o_code, o_message, o_run, o_root, o_status, o_created_at, o_existing, o_lease_until
        FROM submit_v1(p_now, p_lock_ms, p_token, false, p_floor, p_function, p_task_name,
                       p_version, p_input, p_key, ''::bytea, p_priority, p_queue_key, p_tags, 0,
                       0, p_seed, p_node, p_lease) x;
      IF o_code <> '' THEN RETURN; END IF;
      o_done := 'started';
    END IF;
  END IF;
  UPDATE schedules SET token = p_token, done = o_done, missed = missed + p_missed,
         next_tick = CASE WHEN p_expected <> 0 THEN nullif(p_next, 0) ELSE next_tick END,
         due_at = CASE WHEN p_expected <> 0 THEN nullif(p_due, 0) ELSE due_at END,
         last_tick = CASE WHEN p_expected <> 0 THEN p_tick ELSE last_tick END,
         last_run = coalesce(o_run, last_run),
         last_started_at = CASE WHEN o_done = 'started' THEN v_now ELSE last_started_at END,
         started = started + (o_done = 'started')::int,
         last_skipped_at = CASE WHEN o_done = 'skipped' THEN p_tick ELSE last_skipped_at END,
         skipped = skipped + (o_done = 'skipped')::int
   WHERE name = p_name;
END $$;

-- Sent again, it waits for the try before, and knows what that did also if that only waited on.
CREATE OR REPLACE FUNCTION start_child_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_call bigint, p_run bigint, p_epoch bigint, p_depth_max integer, p_waits_until bigint,
    p_inherits boolean, p_function bigint, p_task_name bytea, p_version integer, p_input bytea,
    p_priority integer, p_queue_key bytea, p_tags bytea, p_delay bigint, p_seed bytea,
    p_node text, p_lease bigint,
    OUT o_code text, OUT o_message text, OUT o_run bigint, OUT o_root bigint, OUT o_status text,
    OUT o_created_at bigint, OUT o_existing boolean, OUT o_lease_until bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_depth integer;
  r record;
  k record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  o_existing := false;
  -- As in submit_v1. First of all: a try before holds it while it waits for nothing but rows.
  PERFORM pg_advisory_xact_lock(p_token);
  SELECT x.id, x.run_paused, x.priority INTO r FROM stack_runs x
   WHERE x.id = (SELECT y.parent_stack_run_id FROM stack_runs y
                  WHERE y.id = p_call AND y.seq > 0 AND y.task_run_id + 0 = p_run)
     FOR SHARE;
  SELECT c.child_run, c.token, t.root_stack_run_id, t.created_at, t.ended_at INTO k
    FROM child_tasks c JOIN task_runs t ON t.id = c.child_run WHERE c.parent_call = p_call;
  IF p_again AND k.token = p_token THEN
    o_run := k.child_run;
    o_root := k.root_stack_run_id;
    o_created_at := k.created_at;
    UPDATE stack_runs SET lease_until = v_now + p_lease
     WHERE id = o_root AND p_node <> '' AND p_delay <= 0 AND epoch = 1 AND status = 'processing'
    RETURNING lease_until INTO o_lease_until;
    o_status := CASE WHEN o_lease_until IS NULL THEN 'queued' ELSE 'running' END;
    RETURN;
  END IF;
  IF p_again AND k.child_run IS NOT NULL THEN  -- it may have left the call waiting for that one
    PERFORM 1 FROM stack_runs WHERE id = p_call AND token = p_token AND status <> 'processing';
    IF FOUND THEN
      o_run := k.child_run;
      o_root := k.root_stack_run_id;
      o_created_at := k.created_at;
      o_status := 'running';
      o_existing := true;
      RETURN;
    END IF;
  END IF;
  PERFORM 1 FROM stack_runs
    WHERE id = p_call AND r.id IS NOT NULL AND epoch = p_epoch AND status = 'processing'
      FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    o_code := 'fenced';
    o_message := 'the call is not held under this claim';
    RETURN;
  END IF;

  IF k.child_run IS NOT NULL AND k.ended_at IS NULL THEN
    o_run := k.child_run;
    o_root := k.root_stack_run_id;
    o_created_at := k.created_at;
    o_status := 'running';
    o_existing := true;
  ELSE
    SELECT coalesce(max(c.depth), 0) + 1 INTO v_depth FROM child_tasks c WHERE c.child_run = p_run;
    IF v_depth > p_depth_max THEN
      o_code := 'depth_limit';
      o_message := 'there are ' || p_depth_max || ' runs above this one already, each waiting for '
                   || 'the next: limits.child_depth allows no more';
      RETURN;
    END IF;
    SELECT s.o_code, s.o_message, s.o_run, s.o_root, s.o_status, s.o_created_at, s.o_lease_until
      INTO o_code, o_message, o_run, o_root, o_status, o_created_at, o_lease_until
      FROM submit_v1(p_now, 0, p_token, false, 0, p_function, p_task_name, p_version, p_input,
                     ''::bytea, ''::bytea, CASE WHEN p_inherits THEN r.priority ELSE p_priority END,
                     p_queue_key, p_tags, p_call, p_delay, p_seed, p_node, p_lease) s;
    IF o_code <> '' THEN RETURN; END IF;
    UPDATE child_tasks SET parent_call = NULL WHERE parent_call = p_call;
    INSERT INTO child_tasks (parent_run, child_run, parent_call, token, depth)
    VALUES (p_run, o_run, p_call, p_token, v_depth);
  END IF;
  UPDATE stack_runs SET status = CASE WHEN r.run_paused THEN 'paused' ELSE 'pending' END,
         available_at = p_waits_until, updated_at = v_now, token = p_token, watch_at = NULL,
         ready_at = CASE WHEN r.run_paused THEN NULL ELSE p_waits_until END
   WHERE id = p_call;
END $$;

-- Sent again, it knows its request also if the run was paused or has ended since.
CREATE OR REPLACE FUNCTION request_cancel_v1(p_now bigint, p_lock_ms integer, p_token bigint,
    p_again boolean, p_run bigint, p_error bytea, p_grace bigint,
    OUT o_code text, OUT o_message text, OUT o_over boolean, OUT o_now bigint,
    OUT o_deadline bigint, OUT o_root bigint, OUT o_woken boolean, OUT o_parent_woken boolean,
    OUT o_parent_run bigint, OUT o_parent_root bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_position bigint;
  r record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  o_woken := false;
  o_now := now_ms(p_now);
  SELECT id, status, call_count, journal_length, delivered_as, open_seq, run_paused, updated_at,
         ended_at
    INTO r FROM stack_runs
   WHERE id = (SELECT x.root_stack_run_id FROM task_runs x WHERE x.id = p_run) FOR NO KEY UPDATE;
  IF p_again THEN
    SELECT c.deadline INTO o_deadline FROM cancellations c
     WHERE c.task_run_id = p_run AND c.token = p_token;
    IF FOUND THEN
      o_over := false;
      o_deadline := coalesce(o_deadline, o_now);  -- it has ended, or was rewound
      o_root := r.id;
      o_woken := r.status = 'pending';
      RETURN;
    END IF;
  END IF;
  o_over := r.id IS NULL OR r.ended_at IS NOT NULL OR p_grace <= 0 OR r.run_paused
            OR r.call_count = 0;
  IF o_over THEN
    SELECT x.o_code, x.o_message, x.o_woken, x.o_parent_run, x.o_parent_root
      INTO o_code, o_message, o_parent_woken, o_parent_run, o_parent_root
      FROM cancel_v1(p_now, 0, p_token, p_again, p_run, p_error) x;
    RETURN;
  END IF;

  o_root := r.id;
  IF r.delivered_as > 0 THEN
    UPDATE cancellations SET deadline = least(deadline, o_now + p_grace), token = p_token
     WHERE task_run_id = p_run RETURNING deadline INTO o_deadline;
    o_woken := p_again AND r.status = 'pending';
    RETURN;
  END IF;
  v_position := r.journal_length + 1;
  o_deadline := o_now + p_grace;
  UPDATE stack_runs SET status = 'cancelled', epoch = epoch + 1, updated_at = o_now,
         ended_at = o_now, ready_at = NULL, watch_at = NULL
   WHERE task_run_id = p_run AND seq >= greatest(r.open_seq, 1) AND ended_at IS NULL;
  o_woken := r.status = 'suspended_waiting_child';
  UPDATE stack_runs SET status = CASE WHEN o_woken THEN 'pending' ELSE status END,
         available_at = CASE WHEN o_woken THEN o_now ELSE available_at END,
         ready_at = CASE WHEN o_woken THEN o_now ELSE ready_at END,
         journal_length = v_position, delivered_as = v_position, undelivered_seq = 0,
         open_calls = 0, open_seq = call_count + 1, waiting_on_stack_run_id = NULL,
         updated_at = greatest(o_now, r.updated_at)
   WHERE id = r.id;
  INSERT INTO cancellations (task_run_id, at, deadline, token, error)
  VALUES (p_run, greatest(o_now, r.updated_at), o_deadline, p_token, p_error)
  ON CONFLICT (task_run_id) DO UPDATE SET at = excluded.at, deadline = excluded.deadline,
     token = excluded.token, error = excluded.error;
END $$;

-- Sent again, it is known also when a run was rewound, or all were cleared again, since.
CREATE OR REPLACE FUNCTION clear_v1(p_lock_ms integer, p_token bigint, p_again boolean,
    OUT o_runs bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_tables text := array_to_string(
      ARRAY['stack_runs', 'task_runs', 'attempts', 'child_tasks', 'child_cancels'] || run_tables(),
      ', ');
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  PERFORM pg_advisory_xact_lock(p_token);  -- as in submit_v1
  IF p_again THEN
    SELECT value INTO o_runs FROM meta WHERE key = 'clear:' || p_token;
    IF FOUND THEN RETURN; END IF;
  END IF;
  EXECUTE 'LOCK TABLE ' || v_tables || ' IN ACCESS EXCLUSIVE MODE';
  SELECT count(*) INTO o_runs FROM task_runs;
  EXECUTE 'TRUNCATE ' || v_tables;
  -- After the runs, as whoever admits one comes to them.
  TRUNCATE queue_runs, queue_keys, queue_starts;
  UPDATE queues SET running = 0, waiting = 0;
  -- For this one sent again: how many it deleted, and when. Only `cleared` is for all nodes, and
  -- changed by others as well.
  DELETE FROM meta WHERE key LIKE 'clear:%' AND token < now_ms(0) - 3600000;
  INSERT INTO meta (key, value, token) VALUES ('clear:' || p_token, o_runs, now_ms(0));
  INSERT INTO meta (key, value, token) VALUES ('cleared', o_runs, p_token)
  ON CONFLICT (key) DO UPDATE SET value = excluded.value, token = excluded.token;
END $$;

-- An idempotency key is looked up before anything is asked of the source.
CREATE OR REPLACE FUNCTION fork_run_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_floor bigint, p_source bigint, p_rewinds bigint, p_function bigint, p_version integer,
    p_through bigint, p_calls bigint, p_logs bigint, p_calls_max bigint, p_has_input boolean,
    p_input bytea, p_outcome_seq bigint, p_failed boolean, p_payload bytea, p_seqs bigint[],
    p_delays bigint[], p_has_priority boolean, p_priority integer, p_has_tags boolean,
    p_tags bytea, p_key bytea, p_hash bytea,
    OUT o_code text, OUT o_message text, OUT o_run bigint, OUT o_root bigint, OUT o_ids bigint[],
    OUT o_existing boolean, OUT o_created_at bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_length bigint := p_through;
  c record;
  r stack_runs;
  t task_runs;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  o_existing := false;
  o_ids := '{}';
  PERFORM pg_advisory_xact_lock(p_token);  -- as in submit_v1
  IF p_again THEN
    SELECT id, root_stack_run_id, created_at INTO o_run, o_root, o_created_at FROM task_runs
     WHERE id > p_floor AND token = p_token ORDER BY id LIMIT 1;
    IF FOUND THEN
      o_ids := rewound_ids(v_now, o_run);
      RETURN;
    END IF;
  END IF;
  IF p_key <> '' THEN  -- known already: whatever has become of the source
    SELECT id, root_stack_run_id, created_at, request_hash INTO c FROM task_runs
     WHERE idempotency_key = p_key;
    IF FOUND THEN
      o_run := c.id;
      o_root := c.root_stack_run_id;
      o_created_at := c.created_at;
      o_existing := true;
      IF c.request_hash IS DISTINCT FROM or_null(p_hash) THEN
        o_code := 'idempotency_conflict';
        o_message := 'this idempotency key belongs to task run ' || o_run
                     || ', which was submitted with a different request';
      END IF;
      RETURN;
    END IF;
  END IF;
  SELECT * INTO r FROM stack_runs
   WHERE id = (SELECT x.root_stack_run_id FROM task_runs x WHERE x.id = p_source)
     FOR NO KEY UPDATE;
  SELECT * INTO t FROM task_runs WHERE id = p_source;
  IF t.id IS NULL THEN
    o_code := 'run_not_found';
    o_message := 'there is no task run ' || p_source;
    RETURN;
  END IF;
  o_message := rewind_refused(p_source, p_rewinds, t.rewinds, p_through, r.journal_length, p_calls,
                              r.call_count);
  IF o_message = '' AND p_outcome_seq > 0 AND NOT EXISTS (
       SELECT 1 FROM stack_runs WHERE task_run_id = p_source AND seq = p_outcome_seq
          AND seq BETWEEN 1 AND p_calls AND NOT delivered_as BETWEEN 1 AND p_through) THEN
    o_message := 'call ' || p_outcome_seq || ' does not wait for an outcome at that point';
  END IF;
  IF o_message <> '' THEN
    o_code := 'conflict';
    RETURN;
  END IF;
  IF p_calls > p_calls_max THEN
    o_code := 'payload_too_large';
    o_message := 'the fork would have ' || p_calls || ' calls at its beginning';
    RETURN;
  END IF;
  o_message := webhook_forks_refused(p_source, p_through, p_calls);
  IF o_message <> '' THEN
    o_code := 'conflict';
    RETURN;
  END IF;
  IF NOT EXISTS (SELECT 1 FROM task_functions WHERE id = p_function) THEN
    o_code := 'task_not_found';
    o_message := 'no task function has the id ' || p_function;
    RETURN;
  END IF;
  INSERT INTO task_runs (id, task_function_id, root_stack_run_id, token, created_at, updated_at,
                         priority, task_version, status, task_name, idempotency_key, request_hash,
                         queue_key, seed, tags, input, forked_from, forked_at)
  VALUES (nextval('task_run_ids'), p_function, nextval('stack_run_ids'), p_token, v_now, v_now,
          CASE WHEN p_has_priority THEN p_priority ELSE t.priority END, p_version, 'queued',
          t.task_name, or_null(p_key), or_null(p_hash), t.queue_key, t.seed,
          CASE WHEN p_has_tags THEN or_null(p_tags) ELSE t.tags END,
          CASE WHEN p_has_input THEN p_input ELSE t.input END, p_source, p_through)
  ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
  RETURNING id, root_stack_run_id, priority, tags, created_at INTO t.id, t.root_stack_run_id,
            t.priority, t.tags, o_created_at;
  IF NOT FOUND THEN  -- its key is known
    SELECT id, root_stack_run_id, created_at, request_hash INTO o_run, o_root, o_created_at,
           t.request_hash
      FROM task_runs WHERE idempotency_key = p_key;
    o_existing := true;
    IF o_run IS NULL THEN
      o_code := 'unavailable';
      o_message := 'another request with this idempotency key is under way: try again';
    ELSIF t.request_hash IS DISTINCT FROM or_null(p_hash) THEN
      o_code := 'idempotency_conflict';
      o_message := 'this idempotency key belongs to task run ' || o_run
                   || ', which was submitted with a different request';
    END IF;
    RETURN;
  END IF;
  o_run := t.id;
  o_root := t.root_stack_run_id;

  INSERT INTO stack_runs (id, task_run_id, seq, parent_stack_run_id, epoch, attempt, token,
      available_at, ready_at, lease_owner, slice, delivered_as, created_at, updated_at, started_at,
      ended_at, priority, delivery, source_line, via, hop_us, resume_kind, resume_us, status,
      service_name, method_name, options, args, result, error)
  SELECT nextval('stack_run_ids'), o_run, s.seq, o_root, CASE WHEN s.done THEN s.epoch ELSE 0 END,
         CASE WHEN s.done THEN s.attempt ELSE 0 END, p_token,
         CASE WHEN s.done THEN s.available_at ELSE v_now + coalesce(d.delay, 0) END,
         CASE WHEN NOT s.done THEN v_now + coalesce(d.delay, 0) END,
         CASE WHEN s.done THEN s.lease_owner END, s.slice,
         CASE WHEN s.done THEN s.delivered_as ELSE 0 END, s.created_at,
         CASE WHEN s.done THEN s.updated_at ELSE v_now END,
         CASE WHEN s.done THEN s.started_at END, CASE WHEN s.done THEN s.ended_at END, t.priority,
         s.delivery, s.source_line, CASE WHEN s.done THEN s.via END,
         CASE WHEN s.done THEN s.hop_us END, s.resume_kind, s.resume_us,
         CASE WHEN s.done THEN s.status ELSE 'pending' END, s.service_name, s.method_name,
         s.options, s.args, CASE WHEN s.done THEN s.result END, CASE WHEN s.done THEN s.error END
    FROM (SELECT *, delivered_as BETWEEN 1 AND p_through AS done FROM stack_runs
           WHERE task_run_id = p_source AND seq BETWEEN 1 AND p_calls ORDER BY seq) s
    LEFT JOIN unnest(p_seqs, p_delays) AS d (seq, delay) ON d.seq = s.seq;
  INSERT INTO task_logs (task_run_id, n, at, level, message, fields)
  SELECT o_run, n, at, level, message, fields FROM task_logs
   WHERE task_run_id = p_source AND n <= p_logs;
  IF p_outcome_seq > 0 THEN
    v_length := p_through + 1;
    UPDATE stack_runs SET status = CASE WHEN p_failed THEN 'failed' ELSE 'completed' END,
           result = CASE WHEN NOT p_failed THEN or_null(p_payload) END,
           error = CASE WHEN p_failed THEN or_null(p_payload) END, epoch = 1,
           delivered_as = v_length, ended_at = v_now, updated_at = v_now, ready_at = NULL
     WHERE task_run_id = o_run AND seq = p_outcome_seq;
  END IF;
  PERFORM fork_signals(v_now, p_source, o_run, p_outcome_seq);
  SELECT count(*) FILTER (WHERE ended_at IS NULL) AS open,
         min(seq) FILTER (WHERE ended_at IS NULL) AS first_open, coalesce(max(slice), 0) AS slice,
         (SELECT count(*) FROM task_logs WHERE task_run_id = o_run) AS logs
    INTO c FROM stack_runs WHERE task_run_id = o_run AND seq > 0;
  INSERT INTO stack_runs (id, task_run_id, seq, epoch, token, available_at, ready_at, slice,
                          delivered_as, created_at, updated_at, journal_length, delivered_through,
                          undelivered_seq, call_count, open_calls, open_seq, log_count,
                          task_function_id, priority, attempt, crashes, status, task_name)
  VALUES (o_root, o_run, 0, 0, p_token, v_now, v_now,
          CASE WHEN v_length = 0 THEN 0 ELSE c.slice END, 0, r.created_at, v_now, v_length, 0, 1,
          p_calls, c.open, coalesce(c.first_open, p_calls + 1), c.logs, p_function, t.priority, 0,
          0, 'pending', t.task_name);
  PERFORM run_submitted(v_now, o_run, coalesce(t.tags, ''));
  o_ids := rewound_ids(v_now, o_run);
END $$;

-- JSON that is nested too deep is not understood, as JSON that is none.
CREATE OR REPLACE FUNCTION error_words(p_error bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  v json;
BEGIN
  v := convert_from(p_error, 'UTF8')::json;
  RETURN lower(concat_ws(' ', v ->> 'name', v ->> 'code', v ->> 'message') COLLATE "C");
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  RETURN lower(encode(p_error, 'escape') COLLATE "C");
END $$;
