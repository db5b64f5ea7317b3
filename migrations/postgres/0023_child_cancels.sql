-- expand
-- Children of a run that was asked to end are asked, too, with its deadline; and a retry lets those
-- go that waited on calls which it removes or makes again. 0002 explains the shared parameters.

-- Until when they may go on. 0: they are cancelled at once.
ALTER TABLE child_cancels ADD COLUMN deadline bigint NOT NULL DEFAULT 0;

-- The caller holds the run's root, as does everybody who writes notes about its children.
-- p_asked: only of those that were noted or asked to end before.
CREATE FUNCTION note_children(p_run bigint, p_deadline bigint, p_asked boolean) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO child_cancels AS n (child_run, parent_run, deadline)
  SELECT c.child_run, p_run, p_deadline
    FROM child_tasks c JOIN task_runs t ON t.id = c.child_run
   WHERE c.parent_run = p_run AND c.parent_call IS NOT NULL AND t.ended_at IS NULL
     AND (NOT p_asked
          OR EXISTS (SELECT 1 FROM child_cancels x WHERE x.child_run = c.child_run)
          OR EXISTS (SELECT 1 FROM cancellations x WHERE x.task_run_id = c.child_run
                        AND x.deadline > p_deadline))
  ON CONFLICT (child_run) DO UPDATE SET deadline = least(n.deadline, excluded.deadline)
$$;

-- As in 0018, but that the children of a run which was asked to end have until its deadline.
CREATE OR REPLACE FUNCTION run_over(p_at bigint, p_run bigint, p_status text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF p_status = 'cancelled' THEN
    PERFORM note_children(p_run, coalesce((SELECT deadline FROM cancellations
                                            WHERE task_run_id = p_run), 0), false);
  END IF;
  -- Whatever waits for a signal has no more to wait for.
  UPDATE stack_runs SET available_at = p_at, ready_at = p_at
   WHERE status = 'pending' AND available_at > p_at
     AND id IN (SELECT stack_run_id FROM signal_waits WHERE task_run_id = p_run);
  DELETE FROM signal_waits WHERE task_run_id = p_run;
  -- Its place in a queue is free.
  UPDATE queue_runs SET state = state + 3 WHERE run = p_run AND state < 3;
END $$;

-- As in 0008, but that cancelling is at once for the children, too.
CREATE OR REPLACE FUNCTION cancel_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
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
    UPDATE cancellations SET deadline = v_now WHERE task_run_id = p_run AND deadline > v_now;
    PERFORM run_over(v_now, p_run, 'cancelled');
  END IF;
  IF r.parent_stack_run_id IS NOT NULL THEN
    SELECT e.o_woken, e.o_run, e.o_root INTO o_woken, o_parent_run, o_parent_root
      FROM end_call(v_now, p_token, p_again, r.parent_stack_run_id, 0, 0, true, p_error,
                    -1::smallint, -1, '', 0) e;
  END IF;
END $$;

-- As in 0012, but that the children are noted: they are asked, too, also if the run itself could not
-- see the request. Asked again, that is passed on to those only that were asked the first time.
CREATE OR REPLACE FUNCTION request_cancel_v1(p_now bigint, p_lock_ms integer, p_token bigint,
    p_again boolean, p_run bigint, p_error bytea, p_grace bigint,
    OUT o_code text, OUT o_message text, OUT o_over boolean, OUT o_now bigint,
    OUT o_deadline bigint, OUT o_root bigint, OUT o_woken boolean, OUT o_parent_woken boolean,
    OUT o_parent_run bigint, OUT o_parent_root bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_position bigint;
  v_asked boolean;  -- else it was retried since
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
    IF o_code = '' AND p_grace > 0 THEN
      UPDATE child_cancels n SET deadline = o_now + p_grace FROM child_tasks c
       WHERE c.parent_run = p_run AND n.child_run = c.child_run AND n.deadline = 0;
    END IF;
    RETURN;
  END IF;

  o_root := r.id;
  IF r.delivered_as > 0 THEN
    v_asked := EXISTS (SELECT 1 FROM cancellations WHERE task_run_id = p_run
                          AND deadline IS NOT NULL);
    UPDATE cancellations SET deadline = least(deadline, o_now + p_grace), token = p_token
     WHERE task_run_id = p_run RETURNING deadline INTO o_deadline;
    PERFORM note_children(p_run, o_deadline, v_asked);
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
  PERFORM note_children(p_run, o_deadline, false);
END $$;

-- Works off the note about a run: cancels it, or asks it to end if its deadline is still to come.
-- Nobody is woken by its end: the call that waited for it has ended, or is gone.
CREATE FUNCTION cancel_orphan_v2(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_run bigint, p_error bytea, OUT o_code text, OUT o_message text, OUT o_cancelled boolean,
    OUT o_asked boolean, OUT o_left bigint, OUT o_root bigint, OUT o_woken boolean)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_deadline bigint;
  x record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  o_asked := false;
  SELECT deadline INTO v_deadline FROM child_cancels WHERE child_run = p_run;
  IF NOT FOUND THEN  -- somebody came first: perhaps the try before
    o_cancelled := p_again AND EXISTS (SELECT 1 FROM task_runs WHERE id = p_run
                                          AND status = 'cancelled' AND token = p_token);
    RETURN;
  END IF;
  SELECT r.o_code, r.o_over, r.o_deadline - r.o_now AS left_ms, r.o_root, r.o_woken INTO x
    FROM request_cancel_v1(p_now, 0, p_token, p_again, p_run, p_error,
                           greatest(v_deadline - now_ms(p_now), 0)) r;
  o_cancelled := x.o_code = '' AND x.o_over;
  o_asked := x.o_code = '' AND NOT x.o_over;
  o_left := x.left_ms;
  o_root := x.o_root;
  o_woken := coalesce(o_asked AND x.o_woken, false);
  -- Not if it has a nearer deadline since.
  DELETE FROM child_cancels WHERE child_run = p_run AND deadline = v_deadline;
END $$;

CREATE OR REPLACE FUNCTION cancel_orphan_v1(p_now bigint, p_lock_ms integer, p_token bigint,
    p_again boolean, p_run bigint, p_error bytea,
    OUT o_code text, OUT o_message text, OUT o_cancelled boolean)
LANGUAGE sql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
  SELECT x.o_code, x.o_message, x.o_cancelled
    FROM cancel_orphan_v2(p_now, p_lock_ms, p_token, p_again, p_run, p_error) x
$$;

-- The caller holds the root of the run that is retried. Its children that waited on calls which are
-- gone, or are made again (p_again), have nobody any more who waits for them. Nor have those that
-- are to be cancelled while their call goes on: it is made again, too. Such a call gets another id,
-- so that the end of a former child finds nobody.
CREATE FUNCTION let_children_go(p_now bigint, p_token bigint, p_run bigint, p_deadline bigint,
    p_again bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_id bigint;
  c record;
BEGIN
  FOR c IN SELECT k.child_run, k.parent_call, s.id AS call, t.ended_at
             FROM child_tasks k JOIN task_runs t ON t.id = k.child_run
             LEFT JOIN stack_runs s ON s.id = t.parent_stack_run_id
            WHERE k.parent_run = p_run
              AND (s.id IS NULL OR s.id = ANY (p_again)
                   OR (s.ended_at IS NULL AND k.parent_call IS NOT NULL
                       AND (EXISTS (SELECT 1 FROM child_cancels x WHERE x.child_run = t.id)
                            OR EXISTS (SELECT 1 FROM cancellations x
                                        WHERE x.task_run_id = t.id AND x.deadline IS NOT NULL)))) LOOP
    IF c.parent_call IS NOT NULL THEN
      UPDATE child_tasks SET parent_call = NULL WHERE child_run = c.child_run;
      IF c.ended_at IS NULL THEN
        INSERT INTO child_cancels (child_run, parent_run, deadline)
        VALUES (c.child_run, p_run, p_deadline) ON CONFLICT DO NOTHING;
      END IF;
    END IF;
    IF EXISTS (SELECT 1 FROM stack_runs WHERE id = c.call) THEN
      v_id := nextval('stack_run_ids');
      UPDATE attempts SET stack_run_id = v_id WHERE stack_run_id = c.call;
      UPDATE stack_runs SET id = v_id, status = 'pending', epoch = epoch + 1, token = p_token,
             available_at = p_now, ready_at = p_now, watch_at = NULL, updated_at = p_now
       WHERE id = c.call;
    END IF;
  END LOOP;
END $$;

-- What retry_run_v1 does (0020), and children are let go, who have p_grace to end. Calls that the code had given up
-- by that point (p_dropped) stay as they ended, and nothing of them is delivered.
CREATE FUNCTION retry_to(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_run bigint, p_rewinds bigint, p_function bigint, p_version integer, p_through bigint,
    p_calls bigint, p_logs bigint, p_call bigint, p_unknown_again boolean, p_grace bigint,
    p_dropped bigint[],
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
     AND (seq = p_call OR (status <> 'completed' AND seq <> ALL (p_dropped)))
     AND (delivered_as = 0 OR delivered_as > p_through);
  IF v_unknown IS NOT NULL AND NOT p_unknown_again THEN
    o_code := 'outcome_unknown';
    o_message := 'whether call ' || v_unknown || ' took effect is not known';
    RETURN;
  END IF;

  PERFORM rewind_signals(p_run, t.rewinds + 1, p_calls, v_again);
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
  PERFORM waits_begin_anew(v_now, p_run, v_again);
  UPDATE stack_runs SET delivered_as = 0
   WHERE task_run_id = p_run AND seq = ANY (p_dropped) AND seq > 0 AND ended_at IS NOT NULL
     AND status <> 'completed' AND delivered_as > p_through;
  PERFORM let_children_go(v_now, p_token, p_run, v_now + p_grace, v_again);
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
  -- Who waited for it has been told: it is retried for itself alone.
  UPDATE child_tasks SET parent_call = NULL WHERE child_run = p_run;
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
