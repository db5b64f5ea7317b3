-- expand
-- Runs that go on from an earlier point, or are copies of others up to one. A fork's time begins
-- when its source's did: that is created_at of its root stack run. 0002 explains the shared
-- parameters.
--
--   p_through  the journal position kept
--   p_calls    calls issued by then: those after it are removed, or not copied
--   p_logs     log entries made by then
--   p_rewinds  task_runs.rewinds when the caller found that out

ALTER TABLE task_runs ADD COLUMN forked_from bigint;  -- the source's id; it may be gone
ALTER TABLE task_runs ADD COLUMN forked_at bigint;    -- journal position of the source
ALTER TABLE task_runs ADD COLUMN rewinds bigint NOT NULL DEFAULT 0;

-- What can go on at once: the root, then calls by number. The sweep finds the rest.
CREATE FUNCTION rewound_ids(p_now bigint, p_run bigint) RETURNS bigint[]
LANGUAGE sql STABLE AS $$
  SELECT coalesce(array_agg(x.id ORDER BY x.seq), '{}') FROM (
    SELECT id, seq FROM stack_runs
     WHERE task_run_id = p_run AND status = 'pending' AND available_at <= p_now
     ORDER BY seq LIMIT 1000) x
$$;

-- Whether that point is one, and the run was not rewound since: '' or what is wrong.
CREATE FUNCTION rewind_refused(p_run bigint, p_rewinds bigint, p_known bigint, p_through bigint,
    p_length bigint, p_calls bigint, p_count bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN p_rewinds <> p_known
              THEN 'task run ' || p_run || ' was retried or resumed meanwhile'
              WHEN p_through NOT BETWEEN 0 AND p_length OR p_calls NOT BETWEEN 0 AND p_count
              THEN 'task run ' || p_run || ' has no such point'
              ELSE '' END
$$;

-- The root is to be replayed from the start, whatever its newest slice had seen: so it has seen
-- nothing. Counters of its calls are counted anew. The caller holds its lock.
CREATE FUNCTION rewind_root(p_now bigint, p_token bigint, p_root bigint, p_run bigint,
    p_length bigint, p_calls bigint, p_logs bigint, p_function bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  c record;
BEGIN
  SELECT count(*) AS open, min(seq) AS first_open INTO c FROM stack_runs
   WHERE task_run_id = p_run AND seq > 0 AND ended_at IS NULL;
  UPDATE stack_runs SET status = 'pending', epoch = epoch + 1, attempt = 0, token = p_token,
         available_at = CASE WHEN slice = 0 THEN greatest(available_at, p_now) ELSE p_now END,
         ready_at = CASE WHEN slice = 0 THEN greatest(available_at, p_now) ELSE p_now END,
         watch_at = 0,  -- leases of calls under way are looked at again
         slice = CASE WHEN p_length = 0 THEN 0 ELSE slice END,
         updated_at = greatest(updated_at, p_now), ended_at = NULL, journal_length = p_length,
         delivered_through = 0, undelivered_seq = 1, call_count = p_calls, open_calls = c.open,
         open_seq = coalesce(c.first_open, p_calls + 1), log_count = p_logs, crashes = 0,
         waiting_on_stack_run_id = NULL, run_paused = false, task_function_id = p_function
   WHERE id = p_root;
  DELETE FROM checkpoints WHERE task_run_id = p_run;
END $$;

CREATE FUNCTION rewind_run(p_now bigint, p_token bigint, p_run bigint, p_function bigint,
    p_version integer) RETURNS void LANGUAGE sql AS $$
  UPDATE task_runs SET status = CASE WHEN started_at IS NULL THEN 'queued' ELSE 'running' END,
         task_function_id = p_function, task_version = p_version, rewinds = rewinds + 1,
         pause_reason = NULL, pause_detail = NULL, result = NULL, error = NULL, ended_at = NULL,
         updated_at = p_now, token = p_token
   WHERE id = p_run
$$;

-- A paused run goes on with other code. A slice of it under way is fenced.
CREATE FUNCTION resume_on_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_run bigint, p_rewinds bigint, p_function bigint, p_version integer,
    OUT o_code text, OUT o_message text, OUT o_root bigint, OUT o_ids bigint[])
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  r stack_runs;
  t record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  SELECT * INTO r FROM stack_runs
   WHERE id = (SELECT x.root_stack_run_id FROM task_runs x WHERE x.id = p_run) FOR NO KEY UPDATE;
  SELECT status, token, rewinds INTO t FROM task_runs WHERE id = p_run;
  o_root := r.id;
  IF t.status IS NULL THEN
    o_code := 'run_not_found';
    o_message := 'there is no task run ' || p_run;
    RETURN;
  END IF;
  IF p_again AND t.token = p_token THEN
    o_ids := rewound_ids(v_now, p_run);
    RETURN;
  END IF;
  IF t.status <> 'paused' THEN
    o_message := 'task run ' || p_run || ' is ' || t.status;
  ELSE
    o_message := rewind_refused(p_run, p_rewinds, t.rewinds, 0, 0, 0, 0);
  END IF;
  IF o_message <> '' THEN
    o_code := 'conflict';
    RETURN;
  END IF;
  IF NOT EXISTS (SELECT 1 FROM task_functions WHERE id = p_function) THEN
    o_code := 'task_not_found';
    o_message := 'no task function has the id ' || p_function;
    RETURN;
  END IF;
  IF r.status = 'processing' THEN
    INSERT INTO attempts (stack_run_id, epoch, attempt, token, node, started_at, ended_at, outcome)
    VALUES (r.id, r.epoch, r.attempt, p_token, r.lease_owner, r.started_at, v_now, 'released');
  END IF;
  UPDATE stack_runs SET status = 'pending', ready_at = greatest(available_at, v_now),
         updated_at = v_now
   WHERE task_run_id = p_run AND seq >= greatest(r.open_seq, 1) AND status = 'paused';
  PERFORM rewind_root(v_now, p_token, r.id, p_run, r.journal_length, r.call_count, r.log_count,
                      p_function);
  PERFORM rewind_run(v_now, p_token, p_run, p_function, p_version);
  o_ids := rewound_ids(v_now, p_run);
END $$;

-- A failed or cancelled run goes on from that point. Of the calls kept, those with a result from
-- after it see it delivered again; those that failed or were cancelled after it are made again, and
-- so is p_call.
CREATE FUNCTION retry_run_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_run bigint, p_rewinds bigint, p_function bigint, p_version integer, p_through bigint,
    p_calls bigint, p_logs bigint, p_call bigint, p_unknown_again boolean,
    OUT o_code text, OUT o_message text, OUT o_root bigint, OUT o_ids bigint[])
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_again bigint[];
  v_unknown bigint;
  v_later bigint;
  v_logs bigint;
  r stack_runs;
  t record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  SELECT * INTO r FROM stack_runs
   WHERE id = (SELECT x.root_stack_run_id FROM task_runs x WHERE x.id = p_run) FOR NO KEY UPDATE;
  SELECT status, token, rewinds INTO t FROM task_runs WHERE id = p_run;
  o_root := r.id;
  IF t.status IS NULL THEN
    o_code := 'run_not_found';
    o_message := 'there is no task run ' || p_run;
    RETURN;
  END IF;
  IF p_again AND t.token = p_token THEN
    o_ids := rewound_ids(v_now, p_run);
    RETURN;
  END IF;
  IF t.status NOT IN ('failed', 'cancelled') THEN
    o_message := 'task run ' || p_run || ' is ' || t.status;
  ELSE
    o_message := rewind_refused(p_run, p_rewinds, t.rewinds, p_through, r.journal_length, p_calls,
                                r.call_count);
  END IF;
  IF o_message <> '' THEN
    o_code := 'conflict';
    RETURN;
  END IF;
  IF NOT EXISTS (SELECT 1 FROM task_functions WHERE id = p_function) THEN
    o_code := 'task_not_found';
    o_message := 'no task function has the id ' || p_function;
    RETURN;
  END IF;
  SELECT coalesce(array_agg(id), '{}'),
         min(seq) FILTER (WHERE delivery = 1
                            AND (outcome_unknown OR (status = 'cancelled' AND attempt > 0)))
    INTO v_again, v_unknown FROM stack_runs
   WHERE task_run_id = p_run AND seq BETWEEN 1 AND p_calls AND ended_at IS NOT NULL
     AND (status <> 'completed' OR seq = p_call) AND (delivered_as = 0 OR delivered_as > p_through);
  IF v_unknown IS NOT NULL AND NOT p_unknown_again THEN
    o_code := 'outcome_unknown';
    o_message := 'whether call ' || v_unknown || ' took effect is not known';
    RETURN;
  END IF;

  DELETE FROM attempts a USING stack_runs s
   WHERE s.task_run_id = p_run AND s.seq > p_calls AND a.stack_run_id = s.id;
  DELETE FROM stack_runs WHERE task_run_id = p_run AND seq > p_calls;
  INSERT INTO attempts (stack_run_id, epoch, attempt, token, node, started_at, ended_at, outcome,
                        error)
  SELECT id, epoch, attempt, p_token, lease_owner, started_at, coalesce(ended_at, updated_at),
         'retried', error
    FROM stack_runs WHERE id = ANY (v_again) AND attempt > 0;
  -- What was not begun keeps the time that it waits for.
  UPDATE stack_runs SET status = 'pending', epoch = epoch + 1, token = p_token,
         available_at = CASE WHEN attempt = 0 THEN greatest(available_at, v_now) ELSE v_now END,
         ready_at = CASE WHEN attempt = 0 THEN greatest(available_at, v_now) ELSE v_now END,
         watch_at = NULL, attempt = 0, outcome_unknown = false, result = NULL, error = NULL,
         delivered_as = 0, started_at = NULL, ended_at = NULL, updated_at = v_now
   WHERE id = ANY (v_again);
  WITH c AS (
    SELECT id, row_number() OVER (ORDER BY delivered_as = 0, delivered_as, ended_at, seq) AS n
      FROM stack_runs
     WHERE task_run_id = p_run AND seq > 0 AND status = 'completed'
       AND (delivered_as = 0 OR delivered_as > p_through))
  UPDATE stack_runs s SET delivered_as = p_through + c.n, ended_at = greatest(s.ended_at, v_now),
         updated_at = greatest(s.updated_at, v_now)
    FROM c WHERE s.id = c.id;
  GET DIAGNOSTICS v_later = ROW_COUNT;
  v_logs := least(greatest(p_logs, 0), r.log_count);
  DELETE FROM task_logs WHERE task_run_id = p_run AND n > v_logs;
  PERFORM rewind_root(v_now, p_token, r.id, p_run, p_through + v_later, p_calls, v_logs,
                      p_function);
  PERFORM rewind_run(v_now, p_token, p_run, p_function, p_version);
  -- A request to end that came after the point is gone with it; one from before stays, and is over.
  UPDATE stack_runs SET delivered_as = 0 WHERE id = r.id AND delivered_as > p_through;
  IF FOUND THEN
    DELETE FROM cancellations WHERE task_run_id = p_run;
  ELSE
    UPDATE cancellations SET deadline = NULL WHERE task_run_id = p_run AND deadline IS NOT NULL;
  END IF;
  -- Ends that nodes saw stored are gone, as after a clear: they must not take it for a database
  -- that went back in time (storage/src/postgres/history.h).
  INSERT INTO meta (key, value, token) VALUES ('cleared', 0, p_token)
  ON CONFLICT (key) DO UPDATE SET token = excluded.token;
  o_ids := rewound_ids(v_now, p_run);
END $$;

-- A new run with the source's journal up to that point. Each call without an outcome by then is
-- made by it anew, after its delay if it has one (p_seqs, p_delays). p_outcome_seq > 0: that call
-- has the outcome p_payload, delivered next.
CREATE FUNCTION fork_run_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
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
