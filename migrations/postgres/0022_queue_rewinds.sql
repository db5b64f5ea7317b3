-- expand
-- Runs that are retried or forked take a place in their task's queue, as those that are submitted
-- do. Until such a run is admitted, the calls that it has to make again are parked as its root is.

-- What was parked is due, and may be claimed unless it is paused. A wait for a signal lasts as long
-- as it would have without the queue.
CREATE FUNCTION queue_unpark_calls(p_now bigint, p_run bigint) RETURNS void LANGUAGE sql AS $$
  UPDATE stack_runs SET available_at = p_now, updated_at = p_now,
         created_at = CASE WHEN service_name = 'signal'::bytea AND method_name = 'wait'::bytea
                           THEN p_now ELSE created_at END,
         ready_at = CASE WHEN status = 'pending' THEN p_now END
   WHERE task_run_id = p_run AND seq > 0 AND ended_at IS NULL AND available_at = queue_parked()
$$;

-- It counts from now on. The start bears the step, not the run: that may begin twice at a time.
CREATE OR REPLACE FUNCTION queue_begin(p_now bigint, p_task bytea, p_key bytea, p_priority integer,
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
    INSERT INTO queue_starts (task, key, at, run) VALUES (p_task, p_key, p_now, -v_step);
  END IF;
END $$;

-- As in 0016, but for runs that have calls already.
CREATE OR REPLACE FUNCTION queue_admit_first(p_now bigint, p_task bytea, p_key bytea, p_priority integer,
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
  SELECT status, run_paused, task_function_id, call_count INTO s FROM stack_runs WHERE id = w.root
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
  IF s.call_count > 0 THEN PERFORM queue_unpark_calls(p_now, w.run); END IF;
  UPDATE queues SET waiting = waiting - 1 WHERE task = p_task;
  UPDATE queue_keys SET waiting = waiting - 1, ready = waiting > 1
   WHERE task = p_task AND key = p_key;
END $$;

-- o_calls: those of the admitted runs that can go on at once. The sweep finds the rest.
CREATE FUNCTION queue_admit_v2(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_task bytea, p_node text, p_lease bigint, p_claims integer, p_max integer,
    OUT o_runs bigint[], OUT o_roots bigint[], OUT o_epochs bigint[], OUT o_functions bigint[],
    OUT o_lease_until bigint, OUT o_more boolean, OUT o_next_in bigint, OUT o_calls bigint[])
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
BEGIN
  SELECT x.o_runs, x.o_roots, x.o_epochs, x.o_functions, x.o_lease_until, x.o_more, x.o_next_in
    INTO o_runs, o_roots, o_epochs, o_functions, o_lease_until, o_more, o_next_in
    FROM queue_admit_v1(p_now, p_lock_ms, p_token, p_again, p_task, p_node, p_lease, p_claims,
                        p_max) x;
  SELECT coalesce(array_agg(x.id), '{}') INTO o_calls FROM (
    SELECT id FROM stack_runs
     WHERE task_run_id = ANY (o_runs) AND seq > 0 AND status = 'pending'
       AND available_at <= now_ms(p_now)
     LIMIT 1000) x;
END $$;

-- The task of a run that has ended and held a slot or a place in its queue: whoever ended it asks
-- for the next. For the target list of the statement that ended it: it sees what that has done.
CREATE FUNCTION queue_room_v1(p_run bigint) RETURNS bytea
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT SET enable_seqscan = off AS $$
BEGIN
  RETURN (SELECT task FROM queue_runs WHERE run = p_run AND state >= 3);
END $$;

-- What the run's earlier time in the queue has left is settled. The queue is locked.
CREATE FUNCTION queue_settle_run(p_task bytea, p_run bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  x record;
BEGIN
  DELETE FROM queue_runs WHERE run = p_run AND state >= 3
  RETURNING key, (state = 4)::int AS waited, (state = 5)::int AS ran INTO x;
  IF NOT FOUND THEN RETURN; END IF;
  UPDATE queues SET waiting = waiting - x.waited, running = running - x.ran WHERE task = p_task;
  UPDATE queue_keys SET waiting = waiting - x.waited, running = running - x.ran,
         ready = waiting > x.waited, not_before = NULL
   WHERE task = p_task AND key = x.key;
  DELETE FROM queue_keys WHERE task = p_task AND key = x.key AND running = 0 AND waiting = 0;
END $$;

-- A run that was retried, or is a fork, goes into its task's queue if runs are in it that are
-- submitted so now. Its root and its pending calls that are due wait with it; what waits for a
-- time, or is under way, goes on. The caller holds the root, and has written the rest of the run.
CREATE FUNCTION queue_rewound(p_now bigint, p_run bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_delay bigint;
  v_begun bigint;
  v_calls bigint[];
  w record;
BEGIN
  SELECT r.id, r.priority, r.available_at, r.slice, t.task_name, coalesce(t.queue_key, '') AS key
    INTO w FROM task_runs t JOIN stack_runs r ON r.id = t.root_stack_run_id WHERE t.id = p_run;
  PERFORM queue_unpark_calls(v_now, p_run);  -- cancelled while it waited, it has left them so
  IF w.key = '' THEN
    PERFORM 1 FROM queues WHERE task = w.task_name AND limited;
    IF NOT FOUND THEN RETURN; END IF;
  END IF;
  SELECT coalesce(array_agg(x.id), '{}') INTO v_calls FROM (
    SELECT id FROM stack_runs
     WHERE task_run_id = p_run AND seq > 0 AND status = 'pending' AND available_at <= v_now
       FOR NO KEY UPDATE) x;
  v_delay := CASE WHEN w.slice = 0 THEN greatest(w.available_at - v_now, 0) ELSE 0 END;
  -- Last of all locks, as in submit_v1.
  PERFORM queue_lock(w.task_name, p_now);
  PERFORM queue_settle_run(w.task_name, p_run);
  v_begun := queue_enter(p_now, w.task_name, w.key, w.priority, p_run, w.id, v_delay);
  -- It begins, for everybody who looks at it, when it is admitted.
  UPDATE task_runs SET status = 'queued', started_at = NULL WHERE id = p_run;
  UPDATE stack_runs SET started_at = NULL WHERE id = w.id;
  IF v_begun IS NULL THEN
    UPDATE stack_runs SET available_at = queue_parked(), ready_at = queue_parked()
     WHERE id = w.id OR id = ANY (v_calls);
  END IF;
END $$;

-- retry_run_v1, and into the queue. o_queued: it is in one, and waits there unless its root is
-- among o_ids.
CREATE FUNCTION retry_run_v2(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_run bigint, p_rewinds bigint, p_function bigint, p_version integer, p_through bigint,
    p_calls bigint, p_logs bigint, p_call bigint, p_unknown_again boolean,
    OUT o_code text, OUT o_message text, OUT o_root bigint, OUT o_ids bigint[],
    OUT o_queued boolean)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_done boolean;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  PERFORM 1 FROM stack_runs
   WHERE id = (SELECT x.root_stack_run_id FROM task_runs x WHERE x.id = p_run) FOR NO KEY UPDATE;
  v_done := p_again AND EXISTS (SELECT 1 FROM task_runs WHERE id = p_run AND token = p_token);
  SELECT x.o_code, x.o_message, x.o_root, x.o_ids INTO o_code, o_message, o_root, o_ids
    FROM retry_run_v1(p_now, 0, p_token, p_again, p_run, p_rewinds, p_function, p_version,
                      p_through, p_calls, p_logs, p_call, p_unknown_again) x;
  IF o_code <> '' THEN RETURN; END IF;
  IF NOT v_done THEN PERFORM queue_rewound(p_now, p_run); END IF;
  o_ids := rewound_ids(now_ms(p_now), p_run);
  o_queued := EXISTS (SELECT 1 FROM queue_runs WHERE run = p_run AND state < 3);
END $$;

-- fork_run_v1, and into the queue.
CREATE FUNCTION fork_run_v2(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_floor bigint, p_source bigint, p_rewinds bigint, p_function bigint, p_version integer,
    p_through bigint, p_calls bigint, p_logs bigint, p_calls_max bigint, p_has_input boolean,
    p_input bytea, p_outcome_seq bigint, p_failed boolean, p_payload bytea, p_seqs bigint[],
    p_delays bigint[], p_has_priority boolean, p_priority integer, p_has_tags boolean,
    p_tags bytea, p_key bytea, p_hash bytea,
    OUT o_code text, OUT o_message text, OUT o_run bigint, OUT o_root bigint, OUT o_ids bigint[],
    OUT o_existing boolean, OUT o_created_at bigint, OUT o_queued boolean)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_done boolean;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  PERFORM pg_advisory_xact_lock(p_token);  -- as in submit_v1
  v_done := p_again AND EXISTS (SELECT 1 FROM task_runs WHERE id > p_floor AND token = p_token);
  SELECT x.o_code, x.o_message, x.o_run, x.o_root, x.o_ids, x.o_existing, x.o_created_at
    INTO o_code, o_message, o_run, o_root, o_ids, o_existing, o_created_at
    FROM fork_run_v1(p_now, 0, p_token, p_again, p_floor, p_source, p_rewinds, p_function,
                     p_version, p_through, p_calls, p_logs, p_calls_max, p_has_input, p_input,
                     p_outcome_seq, p_failed, p_payload, p_seqs, p_delays, p_has_priority,
                     p_priority, p_has_tags, p_tags, p_key, p_hash) x;
  o_queued := false;
  IF o_code <> '' OR o_existing THEN RETURN; END IF;
  IF NOT v_done THEN PERFORM queue_rewound(p_now, o_run); END IF;
  o_ids := rewound_ids(now_ms(p_now), o_run);
  o_queued := EXISTS (SELECT 1 FROM queue_runs WHERE run = o_run AND state < 3);
END $$;

-- As in 0017, but what waits in a queue goes on waiting, whatever it has done before.
CREATE OR REPLACE FUNCTION rewind_root(p_now bigint, p_token bigint, p_root bigint, p_run bigint,
    p_length bigint, p_calls bigint, p_logs bigint, p_function bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_at bigint;
  c record;
BEGIN
  SELECT count(*) AS open, min(seq) AS first_open INTO c FROM stack_runs
   WHERE task_run_id = p_run AND seq > 0 AND ended_at IS NULL;
  SELECT CASE WHEN s.available_at = queue_parked() THEN CASE WHEN EXISTS
                (SELECT 1 FROM queue_runs q WHERE q.run = p_run AND q.state < 2)
                THEN queue_parked() ELSE p_now END
              WHEN s.slice = 0 THEN greatest(s.available_at, p_now) ELSE p_now END
    INTO v_at FROM stack_runs s WHERE s.id = p_root;
  UPDATE stack_runs SET status = 'pending', epoch = epoch + 1, attempt = 0, token = p_token,
         available_at = v_at, ready_at = v_at,
         watch_at = 0,  -- leases of calls under way are looked at again
         slice = CASE WHEN p_length = 0 THEN 0 ELSE slice END,
         updated_at = greatest(updated_at, p_now), ended_at = NULL, journal_length = p_length,
         delivered_through = 0, undelivered_seq = 1, call_count = p_calls, open_calls = c.open,
         open_seq = coalesce(c.first_open, p_calls + 1), log_count = p_logs, crashes = 0,
         waiting_on_stack_run_id = NULL, run_paused = false, task_function_id = p_function
   WHERE id = p_root;
  DELETE FROM checkpoints WHERE task_run_id = p_run;
END $$;

-- As in 0019, but for a root that waits in a queue.
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
    -- Before its first slice it may have been submitted with a delay, and it may wait in a queue.
    v_at := CASE WHEN r.slice = 0 OR r.available_at = queue_parked() THEN r.available_at
                 ELSE v_now END;
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

-- As in 0012, but a run that waits in a queue is cancelled at once: it is not at work.
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
         ended_at, available_at
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
            OR r.call_count = 0 OR r.available_at = queue_parked();
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
