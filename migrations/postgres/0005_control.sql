-- cancel, pause, resume, clear, and the keystore. 0002 explains the shared parameters.

-- Ends the run now; holders of its stack runs are fenced; a waiting parent call fails.
CREATE FUNCTION cancel_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_run bigint, p_error bytea,
    OUT o_code text, OUT o_message text, OUT o_woken boolean, OUT o_parent_run bigint,
    OUT o_parent_root bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  r record;
  t record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  o_woken := false;
  SELECT id, open_seq, call_count, parent_stack_run_id INTO r FROM stack_runs
   WHERE id = (SELECT x.root_stack_run_id FROM task_runs x WHERE x.id = p_run) FOR NO KEY UPDATE;
  SELECT status, token INTO t FROM task_runs WHERE id = p_run FOR NO KEY UPDATE;
  IF t.status IS NULL THEN
    o_code := 'run_not_found';
    o_message := 'there is no task run ' || p_run;
    RETURN;
  END IF;
  IF t.status IN ('completed', 'failed', 'cancelled') THEN
    IF NOT (p_again AND t.token = p_token) THEN
      o_code := 'conflict';
      o_message := 'task run ' || p_run || ' is ' || t.status;
      RETURN;
    END IF;
  ELSE
    UPDATE stack_runs SET status = 'cancelled', epoch = epoch + 1, updated_at = v_now,
           ended_at = v_now, ready_at = NULL, watch_at = NULL
     WHERE task_run_id = p_run AND seq >= greatest(r.open_seq, 1) AND ended_at IS NULL;
    UPDATE stack_runs SET status = 'cancelled', epoch = epoch + 1, open_calls = 0,
           open_seq = call_count + 1, waiting_on_stack_run_id = NULL, run_paused = false,
           updated_at = v_now, ended_at = v_now, ready_at = NULL, watch_at = NULL
     WHERE id = r.id;
    UPDATE task_runs SET status = 'cancelled', error = or_null(p_error), pause_reason = NULL,
           pause_detail = NULL, updated_at = v_now, ended_at = v_now, token = p_token
     WHERE id = p_run;
  END IF;
  IF r.parent_stack_run_id IS NOT NULL THEN
    SELECT e.o_woken, e.o_run, e.o_root INTO o_woken, o_parent_run, o_parent_root
      FROM end_call(v_now, p_token, p_again, r.parent_stack_run_id, 0, 0, true, p_error,
                    -1::smallint, -1, '', 0) e;
  END IF;
END $$;

CREATE FUNCTION pause_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_run bigint, p_reason bytea, p_detail bytea, OUT o_code text, OUT o_message text)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  r record;
  t record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  SELECT id, open_seq, status INTO r FROM stack_runs
   WHERE id = (SELECT x.root_stack_run_id FROM task_runs x WHERE x.id = p_run) FOR NO KEY UPDATE;
  SELECT status, token INTO t FROM task_runs WHERE id = p_run;
  IF t.status IS NULL THEN
    o_code := 'run_not_found';
    o_message := 'there is no task run ' || p_run;
    RETURN;
  END IF;
  IF p_again AND t.token = p_token THEN RETURN; END IF;
  IF t.status IN ('completed', 'failed', 'cancelled', 'paused') THEN
    o_code := 'conflict';
    o_message := 'task run ' || p_run || ' is ' || t.status;
    RETURN;
  END IF;
  PERFORM pause_everything(v_now, p_run, r.open_seq, p_reason, p_detail);
  UPDATE task_runs SET token = p_token WHERE id = p_run;
  -- A root under way goes on to the end of its slice, and is paused by its commit.
  UPDATE stack_runs SET run_paused = true, ready_at = NULL,
         status = CASE WHEN status = 'processing' THEN status ELSE 'paused' END,
         updated_at = CASE WHEN status = 'processing' THEN updated_at ELSE v_now END
   WHERE id = r.id;
END $$;

-- Answers what is runnable now: the root first, then calls by seq.
CREATE FUNCTION resume_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
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
  -- Leases that ended while it was paused are looked at again, at once.
  IF r.status = 'processing' THEN
    UPDATE stack_runs SET run_paused = false, watch_at = v_now WHERE id = r.id;
  ELSE
    -- It has something to do if it never ran to a suspension or has outcomes it has not seen.
    v_has_work := r.slice = 0 OR r.journal_length > r.delivered_through;
    -- Before its first slice it may have been submitted with a delay.
    v_at := CASE WHEN r.slice = 0 THEN r.available_at ELSE v_now END;
    UPDATE stack_runs SET available_at = v_at, crashes = 0, run_paused = false, updated_at = v_now,
           status = CASE WHEN v_has_work THEN 'pending' ELSE 'suspended_waiting_child' END,
           ready_at = CASE WHEN v_has_work THEN greatest(v_at, v_now) END, watch_at = v_now,
           waiting_on_stack_run_id =
             CASE WHEN NOT v_has_work AND r.open_calls = 1 THEN v_waiting END
     WHERE id = r.id;
    IF v_has_work AND v_at <= v_now THEN o_ids := r.id || o_ids; END IF;
  END IF;
  UPDATE task_runs SET status = CASE WHEN t.started_at IS NULL THEN 'queued' ELSE 'running' END,
         pause_reason = NULL, pause_detail = NULL, updated_at = v_now, token = p_token
   WHERE id = p_run;
END $$;

-- Deletes runs and what belongs to them. The sequences go on, so no id is given out again.
CREATE FUNCTION clear_v1(p_lock_ms integer, p_token bigint, p_again boolean, OUT o_runs bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  PERFORM pg_advisory_xact_lock(p_token);  -- as in submit_v1
  IF p_again THEN
    SELECT value INTO o_runs FROM meta WHERE key = 'cleared' AND token = p_token;
    IF FOUND THEN RETURN; END IF;
  END IF;
  LOCK TABLE stack_runs, task_runs, attempts, task_logs, checkpoints IN ACCESS EXCLUSIVE MODE;
  SELECT count(*) INTO o_runs FROM task_runs;
  TRUNCATE stack_runs, task_runs, attempts, task_logs, checkpoints;
  INSERT INTO meta (key, value, token) VALUES ('cleared', o_runs, p_token)
  ON CONFLICT (key) DO UPDATE SET value = excluded.value, token = excluded.token;
END $$;

-- Stores the entry as version p_version if the newest is the one before. o_stored false: another
-- put or delete came first, read the version and seal again.
CREATE FUNCTION keystore_put_v1(p_now bigint, p_lock_ms integer, p_token bigint,
    p_namespace bytea, p_key bytea, p_key_id bytea, p_version bigint, p_sealed bytea,
    OUT o_stored boolean)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  IF p_version = 1 THEN
    INSERT INTO keystore (namespace, key, version, key_id, updated_at, sealed, token)
    VALUES (p_namespace, p_key, 1, p_key_id, v_now, p_sealed, p_token)
    ON CONFLICT (namespace, key) DO NOTHING;
  ELSE
    UPDATE keystore SET version = p_version, key_id = p_key_id, updated_at = v_now,
           sealed = p_sealed, token = p_token
     WHERE namespace = p_namespace AND key = p_key AND version = p_version - 1;
  END IF;
  o_stored := FOUND;
  IF NOT o_stored THEN  -- sent before, and it was stored?
    PERFORM 1 FROM keystore WHERE namespace = p_namespace AND key = p_key
        AND version = p_version AND token = p_token;
    o_stored := FOUND;
  END IF;
END $$;
