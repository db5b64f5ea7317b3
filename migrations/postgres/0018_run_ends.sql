-- expand
-- What goes with a run when it ends, and with all runs when they are cleared.

CREATE OR REPLACE FUNCTION run_over(p_at bigint, p_run bigint, p_status text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  -- Its children are cancelled with it.
  IF p_status = 'cancelled' THEN
    INSERT INTO child_cancels (child_run, parent_run)
    SELECT c.child_run, p_run FROM child_tasks c JOIN task_runs t ON t.id = c.child_run
     WHERE c.parent_run = p_run AND t.ended_at IS NULL
    ON CONFLICT DO NOTHING;
  END IF;
  -- Whatever waits for a signal has no more to wait for.
  UPDATE stack_runs SET available_at = p_at, ready_at = p_at
   WHERE status = 'pending' AND available_at > p_at
     AND id IN (SELECT stack_run_id FROM signal_waits WHERE task_run_id = p_run);
  DELETE FROM signal_waits WHERE task_run_id = p_run;
  -- Its place in a queue is free.
  UPDATE queue_runs SET state = state + 3 WHERE run = p_run AND state < 3;
END $$;

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
    SELECT value INTO o_runs FROM meta WHERE key = 'cleared' AND token = p_token;
    IF FOUND THEN RETURN; END IF;
  END IF;
  EXECUTE 'LOCK TABLE ' || v_tables || ' IN ACCESS EXCLUSIVE MODE';
  SELECT count(*) INTO o_runs FROM task_runs;
  EXECUTE 'TRUNCATE ' || v_tables;
  -- After the runs, as whoever admits one comes to them.
  TRUNCATE queue_runs, queue_keys, queue_starts;
  UPDATE queues SET running = 0, waiting = 0;
  INSERT INTO meta (key, value, token) VALUES ('cleared', o_runs, p_token)
  ON CONFLICT (key) DO UPDATE SET value = excluded.value, token = excluded.token;
END $$;
