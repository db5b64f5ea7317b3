-- expand
-- Leases that ended while a run was paused are looked at by the next full look after it is resumed.

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
    -- It has something to do if it never ran to a suspension or has outcomes it has not seen.
    v_has_work := r.slice = 0 OR r.journal_length > r.delivered_through;
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
