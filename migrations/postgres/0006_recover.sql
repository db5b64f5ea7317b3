-- recover: what a node that is known to be dead held may be claimed at once. 0002 explains the
-- shared parameters.

-- The dead node's leases end now. A row that somebody has locked is being taken over already.
CREATE FUNCTION recover_v1(p_now bigint, p_lock_ms integer, p_node text, OUT o_count bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_freed bigint;
  s record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_count := 0;
  FOR s IN SELECT w.id, w.task_run_id, w.seq, w.open_seq FROM stack_runs w
            WHERE w.watch_at IS NOT NULL
              AND EXISTS (SELECT 1 FROM stack_runs x
                           WHERE x.task_run_id = w.task_run_id
                             AND (x.id = w.id OR (w.seq = 0 AND x.seq >= w.open_seq))
                             AND x.status = 'processing' AND x.lease_owner = p_node
                             AND x.lease_until > v_now)
            ORDER BY w.task_run_id, w.seq FOR NO KEY UPDATE OF w SKIP LOCKED LOOP
    WITH held AS MATERIALIZED (
      SELECT x.id FROM stack_runs x
       WHERE x.task_run_id = s.task_run_id
         AND (x.id = s.id OR (s.seq = 0 AND x.seq >= s.open_seq))
         AND x.status = 'processing' AND x.lease_owner = p_node AND x.lease_until > v_now
       ORDER BY x.seq FOR NO KEY UPDATE SKIP LOCKED)
    UPDATE stack_runs x SET lease_until = v_now FROM held WHERE x.id = held.id;
    GET DIAGNOSTICS v_freed = ROW_COUNT;
    o_count := o_count + v_freed;
    UPDATE stack_runs SET watch_at = v_now WHERE id = s.id AND watch_at > v_now;
  END LOOP;
END $$;
