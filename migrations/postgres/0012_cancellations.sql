-- expand
-- Asking runs to end, and calls that nobody waits for any more. 0002 explains the shared parameters.

-- Runs that were asked to end. The request is an entry of the run's journal: its position is
-- delivered_as of the root stack run, its time and its error are here. Nothing of this is read or
-- written by the transitions of a call.
CREATE TABLE cancellations (
  task_run_id bigint PRIMARY KEY,
  at          bigint NOT NULL,
  deadline    bigint,           -- cancelled if it has not ended by then; NULL: nothing more to do
  token       bigint NOT NULL,  -- of the newest request
  error       bytea NOT NULL
);
CREATE INDEX cancellations_deadline ON cancellations (deadline) WHERE deadline IS NOT NULL;

-- p_grace 0: at once, as is a run that could not see the request: nothing of it is stored yet, or
-- it is paused. o_over: it is cancelled. Asked again, it changes the deadline only, and never to a
-- later one.
CREATE FUNCTION request_cancel_v1(p_now bigint, p_lock_ms integer, p_token bigint,
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

-- Cancels those of the calls that are still open. Made twice, the second time finds none.
CREATE FUNCTION drop_calls_v1(p_now bigint, p_lock_ms integer, p_run bigint, p_seqs bigint[],
    OUT o_count bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_first record;
  r record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_count := 0;
  SELECT id, status, open_calls, open_seq, call_count INTO r FROM stack_runs
   WHERE id = (SELECT x.root_stack_run_id FROM task_runs x WHERE x.id = p_run) FOR NO KEY UPDATE;
  IF NOT FOUND OR r.open_calls = 0 THEN RETURN; END IF;
  UPDATE stack_runs SET status = 'cancelled', epoch = epoch + 1, updated_at = v_now,
         ended_at = v_now, ready_at = NULL, watch_at = NULL
   WHERE task_run_id = p_run AND seq = ANY (p_seqs) AND seq >= greatest(r.open_seq, 1)
     AND ended_at IS NULL;
  GET DIAGNOSTICS o_count = ROW_COUNT;
  IF o_count = 0 THEN RETURN; END IF;
  SELECT seq, id INTO v_first FROM stack_runs
   WHERE task_run_id = p_run AND seq >= greatest(r.open_seq, 1) AND ended_at IS NULL
   ORDER BY seq LIMIT 1;
  UPDATE stack_runs SET open_calls = r.open_calls - o_count,
         open_seq = coalesce(v_first.seq, r.call_count + 1),
         waiting_on_stack_run_id =
           CASE WHEN status = 'suspended_waiting_child' AND r.open_calls - o_count = 1
                THEN v_first.id END
   WHERE id = r.id;
END $$;

-- Runs whose deadline has passed, and how long until the next one does. Deadlines of runs that have
-- ended meanwhile, or were removed, are forgotten here.
CREATE FUNCTION cancels_due_v1(p_now bigint, p_limit integer, OUT o_runs bigint[],
    OUT o_next_in bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
BEGIN
  DELETE FROM cancellations c WHERE c.deadline <= v_now
     AND NOT EXISTS (SELECT 1 FROM task_runs t WHERE t.id = c.task_run_id);
  UPDATE cancellations c SET deadline = NULL WHERE c.deadline <= v_now
     AND EXISTS (SELECT 1 FROM stack_runs r WHERE r.task_run_id = c.task_run_id AND r.seq = 0
                    AND (r.ended_at IS NOT NULL OR r.delivered_as = 0));
  SELECT coalesce(array_agg(x.task_run_id), '{}') INTO o_runs FROM (
    SELECT task_run_id FROM cancellations WHERE deadline <= v_now
     ORDER BY deadline LIMIT p_limit) x;
  SELECT deadline - v_now INTO o_next_in FROM cancellations WHERE deadline > v_now
   ORDER BY deadline LIMIT 1;
END $$;
