-- expand
-- Runs that have given up calls, or were asked to end, and are retried or forked; and one table
-- fewer that is read.
-- 0002 explains the shared parameters.

-- As in 0022, but that the outcomes to be seen begin with the root's own: a request to end.
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
         delivered_through = 0, undelivered_seq = 0, call_count = p_calls, open_calls = c.open,
         open_seq = coalesce(c.first_open, p_calls + 1), log_count = p_logs, crashes = 0,
         waiting_on_stack_run_id = NULL, run_paused = false, task_function_id = p_function
   WHERE id = p_root;
  DELETE FROM checkpoints WHERE task_run_id = p_run;
END $$;

-- What fork_run_v1 does (0021), and calls that the code had given up by that point (p_dropped) are copied as
-- cancelled, and so is a request to end from before it.
CREATE FUNCTION fork_to(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_floor bigint, p_source bigint, p_rewinds bigint, p_function bigint, p_version integer,
    p_through bigint, p_calls bigint, p_logs bigint, p_calls_max bigint, p_has_input boolean,
    p_input bytea, p_outcome_seq bigint, p_failed boolean, p_payload bytea, p_seqs bigint[],
    p_delays bigint[], p_has_priority boolean, p_priority integer, p_has_tags boolean,
    p_tags bytea, p_key bytea, p_hash bytea, p_dropped bigint[],
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
         CASE WHEN NOT s.done AND NOT s.dropped THEN v_now + coalesce(d.delay, 0) END,
         CASE WHEN s.done THEN s.lease_owner END, s.slice,
         CASE WHEN s.done THEN s.delivered_as ELSE 0 END, s.created_at,
         CASE WHEN s.done THEN s.updated_at ELSE v_now END,
         CASE WHEN s.done THEN s.started_at END,
         CASE WHEN s.done THEN s.ended_at WHEN s.dropped THEN v_now END, t.priority,
         s.delivery, s.source_line, CASE WHEN s.done THEN s.via END,
         CASE WHEN s.done THEN s.hop_us END, s.resume_kind, s.resume_us,
         CASE WHEN s.done THEN s.status WHEN s.dropped THEN 'cancelled' ELSE 'pending' END,
         s.service_name, s.method_name,
         s.options, s.args, CASE WHEN s.done THEN s.result END, CASE WHEN s.done THEN s.error END
    FROM (SELECT *, delivered_as BETWEEN 1 AND p_through AS done,
                 seq = ANY (p_dropped) AND seq <> p_outcome_seq AS dropped FROM stack_runs
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
          CASE WHEN v_length = 0 THEN 0 ELSE c.slice END,
          CASE WHEN r.delivered_as <= p_through THEN r.delivered_as ELSE 0 END, r.created_at,
          v_now, v_length, 0, 0, p_calls, c.open, coalesce(c.first_open, p_calls + 1), c.logs,
          p_function, t.priority, 0, 0, 'pending', t.task_name);
  INSERT INTO cancellations (task_run_id, at, deadline, token, error)
  SELECT o_run, at, NULL, p_token, error FROM cancellations
   WHERE task_run_id = p_source AND r.delivered_as BETWEEN 1 AND p_through;
  PERFORM run_submitted(v_now, o_run, coalesce(t.tags, ''));
  o_ids := rewound_ids(v_now, o_run);
END $$;

-- As in 0015, but that child_tasks says what a run has started: run_children is read no more.
CREATE OR REPLACE FUNCTION remove_tree(p_now bigint, p_run bigint, p_before bigint, p_wait boolean,
    p_budget bigint, p_tables text[], OUT o_runs bigint, OUT o_rows bigint, OUT o_whole boolean)
LANGUAGE plpgsql AS $$
DECLARE
  v_root bigint;
  v_count bigint;
  v_newest bigint;
  v_table text;
  t record;
  c record;
  x record;
BEGIN
  o_runs := 0;
  o_rows := 0;
  o_whole := false;
  SELECT root_stack_run_id INTO v_root FROM task_runs WHERE id = p_run;
  IF p_wait THEN
    PERFORM 1 FROM stack_runs WHERE id = v_root FOR UPDATE;
  ELSE
    PERFORM 1 FROM stack_runs WHERE id = v_root FOR UPDATE SKIP LOCKED;
  END IF;
  IF NOT FOUND THEN RETURN; END IF;
  SELECT ended_at, updated_at INTO t FROM task_runs WHERE id = p_run;
  IF t.ended_at IS NULL OR t.ended_at >= p_before THEN RETURN; END IF;
  PERFORM 1 FROM child_tasks k JOIN task_runs r ON r.id = k.child_run
    WHERE k.parent_run = p_run AND r.ended_at IS NULL LIMIT 1;
  IF FOUND THEN RETURN; END IF;
  FOR c IN SELECT k.child_run FROM child_tasks k WHERE k.parent_run = p_run
            ORDER BY k.child_run LIMIT p_budget LOOP
    IF o_runs >= p_budget THEN RETURN; END IF;
    SELECT r.o_runs, r.o_rows, r.o_whole INTO x
      FROM remove_tree(p_now, c.child_run, 9223372036854775807, false, p_budget - o_runs,
                       p_tables) r;
    o_runs := o_runs + x.o_runs;
    o_rows := o_rows + x.o_rows;
    IF NOT x.o_whole THEN RETURN; END IF;
  END LOOP;
  IF o_runs >= p_budget THEN RETURN; END IF;

  DELETE FROM attempts WHERE stack_run_id IN (SELECT id FROM stack_runs WHERE task_run_id = p_run);
  WITH gone AS (DELETE FROM stack_runs WHERE task_run_id = p_run RETURNING updated_at)
  SELECT count(*), max(updated_at) INTO v_count, v_newest FROM gone;
  o_rows := o_rows + v_count + 1;
  FOREACH v_table IN ARRAY p_tables LOOP
    EXECUTE 'DELETE FROM ' || v_table || ' WHERE task_run_id = $1' USING p_run;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    o_rows := o_rows + v_count;
  END LOOP;
  DELETE FROM child_tasks WHERE child_run = p_run;
  DELETE FROM child_cancels WHERE child_run = p_run;
  DELETE FROM task_runs WHERE id = p_run;
  IF greatest(v_newest, t.updated_at) > p_now - 604800000 THEN
    INSERT INTO removed_runs (id, removed_at) VALUES (p_run, p_now) ON CONFLICT DO NOTHING;
  END IF;
  o_runs := o_runs + 1;
  o_whole := true;
END $$;

-- retry_to, and into the queue: as retry_run_v2.
CREATE FUNCTION retry_run_v3(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_run bigint, p_rewinds bigint, p_function bigint, p_version integer, p_through bigint,
    p_calls bigint, p_logs bigint, p_call bigint, p_unknown_again boolean,
    p_grace bigint, p_dropped bigint[],
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
    FROM retry_to(p_now, 0, p_token, p_again, p_run, p_rewinds, p_function, p_version,
                      p_through, p_calls, p_logs, p_call, p_unknown_again, p_grace, p_dropped) x;
  IF o_code <> '' THEN RETURN; END IF;
  IF NOT v_done THEN PERFORM queue_rewound(p_now, p_run); END IF;
  o_ids := rewound_ids(now_ms(p_now), p_run);
  o_queued := EXISTS (SELECT 1 FROM queue_runs WHERE run = p_run AND state < 3);
END $$;

-- fork_to, and into the queue: as fork_run_v2.
CREATE FUNCTION fork_run_v3(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_floor bigint, p_source bigint, p_rewinds bigint, p_function bigint, p_version integer,
    p_through bigint, p_calls bigint, p_logs bigint, p_calls_max bigint, p_has_input boolean,
    p_input bytea, p_outcome_seq bigint, p_failed boolean, p_payload bytea, p_seqs bigint[],
    p_delays bigint[], p_has_priority boolean, p_priority integer, p_has_tags boolean,
    p_tags bytea, p_key bytea, p_hash bytea, p_dropped bigint[],
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
    FROM fork_to(p_now, 0, p_token, p_again, p_floor, p_source, p_rewinds, p_function,
                     p_version, p_through, p_calls, p_logs, p_calls_max, p_has_input, p_input,
                     p_outcome_seq, p_failed, p_payload, p_seqs, p_delays, p_has_priority,
                     p_priority, p_has_tags, p_tags, p_key, p_hash, p_dropped) x;
  o_queued := false;
  IF o_code <> '' OR o_existing THEN RETURN; END IF;
  IF NOT v_done THEN PERFORM queue_rewound(p_now, o_run); END IF;
  o_ids := rewound_ids(now_ms(p_now), o_run);
  o_queued := EXISTS (SELECT 1 FROM queue_runs WHERE run = o_run AND state < 3);
END $$;
