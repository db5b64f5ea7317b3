-- expand
-- Child tasks: which task run was started by a call of which other run, and which are to be
-- cancelled after it. 0002 explains the shared parameters.

CREATE TABLE child_tasks (
  parent_run  bigint NOT NULL,
  child_run   bigint NOT NULL,
  parent_call bigint,            -- NULL: the call was made anew and has another child now
  token       bigint NOT NULL,   -- of the transition that started it
  depth       integer NOT NULL,  -- runs above the child
  PRIMARY KEY (parent_run, child_run)
);
CREATE UNIQUE INDEX child_tasks_child ON child_tasks (child_run);
CREATE UNIQUE INDEX child_tasks_call ON child_tasks (parent_call);

-- Written when the parent is cancelled, in the same transaction; gone once the child has ended.
CREATE TABLE child_cancels (
  child_run  bigint PRIMARY KEY,
  parent_run bigint NOT NULL
);

-- Starts a task run as submit_v1 does, and leaves the call waiting for its end: pending, claimed by
-- nobody, due at p_waits_until. A call whose child is under way only waits on.
-- The root is locked against whoever changes it, but not against other starts of the same run: many
-- share a flush.
CREATE FUNCTION start_child_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
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

-- Cancels a run whose parent was cancelled, if it has not ended, and forgets that it is to be.
CREATE FUNCTION cancel_orphan_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_run bigint, p_error bytea, OUT o_code text, OUT o_message text, OUT o_cancelled boolean)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  SELECT c.o_code = '' INTO o_cancelled
    FROM cancel_v1(p_now, 0, p_token, p_again, p_run, p_error) c;
  DELETE FROM child_cancels WHERE child_run = p_run;
  o_code := '';
END $$;

-- A call that waited has ended. If that was not by its child's own end, which the child then shows
-- already, the child is to be cancelled.
CREATE FUNCTION note_orphan_of(p_call bigint) RETURNS void LANGUAGE sql AS $$
  INSERT INTO child_cancels (child_run, parent_run)
  SELECT c.child_run, c.parent_run FROM child_tasks c JOIN task_runs t ON t.id = c.child_run
   WHERE c.parent_call = p_call AND t.ended_at IS NULL
  ON CONFLICT DO NOTHING
$$;

-- As in 0003, but for note_orphan_of.
CREATE OR REPLACE FUNCTION end_call(p_now bigint, p_token bigint, p_again boolean, p_call bigint,
    p_run bigint, p_epoch bigint, p_failed boolean, p_payload bytea, p_via smallint,
    p_hop_us bigint, p_node text, p_lease bigint,
    OUT o_held boolean, OUT o_delivered_as bigint, OUT o_at bigint, OUT o_run bigint,
    OUT o_root bigint, OUT o_woken boolean, OUT o_epoch bigint, OUT o_attempt integer,
    OUT o_lease_until bigint, OUT o_function bigint, OUT o_task_name bytea)
LANGUAGE plpgsql AS $$
DECLARE
  r stack_runs;
  c record;
  v_open bigint;
  v_open_seq bigint;
  v_ended boolean;
BEGIN
  o_held := false;
  o_woken := false;
  SELECT * INTO r FROM stack_runs
   WHERE id = (SELECT x.parent_stack_run_id FROM stack_runs x WHERE x.id = p_call AND x.seq > 0)
     FOR NO KEY UPDATE;
  IF NOT FOUND OR (p_epoch > 0 AND r.task_run_id <> p_run) THEN RETURN; END IF;
  v_ended := r.status IN ('completed', 'failed', 'cancelled');
  o_run := r.task_run_id;
  o_root := r.id;
  o_function := r.task_function_id;
  o_task_name := r.task_name;
  -- A clock that was set back must not make the run's time go back.
  o_at := greatest(p_now, r.updated_at);
  o_delivered_as := CASE WHEN v_ended THEN 0 ELSE r.journal_length + 1 END;
  UPDATE stack_runs SET status = CASE WHEN p_failed THEN 'failed' ELSE 'completed' END,
         result = CASE WHEN NOT p_failed THEN or_null(p_payload) END,
         error = CASE WHEN p_failed THEN or_null(p_payload) END, delivered_as = o_delivered_as,
         via = CASE WHEN p_via >= 0 THEN p_via ELSE via END,
         hop_us = CASE WHEN p_hop_us >= 0 THEN p_hop_us ELSE hop_us END,
         updated_at = o_at, ended_at = o_at, token = p_token, ready_at = NULL, watch_at = NULL
   WHERE id = p_call AND ended_at IS NULL
     AND (p_epoch = 0 OR (epoch = p_epoch AND status = 'processing'))
  RETURNING seq INTO c;
  IF NOT FOUND THEN
    IF NOT p_again THEN RETURN; END IF;
    SELECT delivered_as, ended_at INTO c FROM stack_runs
     WHERE id = p_call AND token = p_token AND ended_at IS NOT NULL;
    IF NOT FOUND THEN RETURN; END IF;
    o_held := true;
    o_delivered_as := c.delivered_as;
    o_at := c.ended_at;
    o_woken := NOT v_ended AND r.status = 'pending';
    IF r.token = p_token AND r.status = 'processing' AND r.lease_owner = p_node THEN
      o_woken := true;
      o_epoch := r.epoch;
      o_attempt := r.attempt;
      o_lease_until := p_now + p_lease;
      UPDATE stack_runs SET lease_until = o_lease_until WHERE id = o_root;
    END IF;
    RETURN;
  END IF;
  o_held := true;
  IF p_epoch = 0 THEN PERFORM note_orphan_of(p_call); END IF;

  v_open := r.open_calls - 1;
  v_open_seq := r.open_seq;
  IF c.seq = v_open_seq THEN
    IF v_open > 0 THEN
      SELECT seq INTO STRICT v_open_seq FROM stack_runs
       WHERE task_run_id = r.task_run_id AND seq > r.open_seq AND ended_at IS NULL
       ORDER BY seq LIMIT 1;
    ELSE
      v_open_seq := r.call_count + 1;
    END IF;
  END IF;
  IF v_ended THEN
    UPDATE stack_runs SET open_calls = v_open, open_seq = v_open_seq WHERE id = o_root;
    RETURN;
  END IF;
  IF r.journal_length = r.delivered_through OR c.seq < r.undelivered_seq THEN
    r.undelivered_seq := c.seq;
  END IF;
  o_woken := r.status = 'suspended_waiting_child';
  IF o_woken AND p_node <> '' THEN
    o_epoch := r.epoch + 1;
    o_attempt := r.attempt + 1;
    o_lease_until := p_now + p_lease;
    UPDATE stack_runs SET status = 'processing', epoch = o_epoch, attempt = o_attempt,
           available_at = p_now, lease_owner = p_node, lease_until = o_lease_until,
           started_at = p_now, token = p_token, watch_at = earlier(watch_at, o_lease_until),
           journal_length = o_delivered_as, undelivered_seq = r.undelivered_seq,
           open_calls = v_open, open_seq = v_open_seq, waiting_on_stack_run_id = NULL,
           updated_at = o_at
     WHERE id = o_root;
  ELSE
    UPDATE stack_runs SET status = CASE WHEN o_woken THEN 'pending' ELSE status END,
           available_at = CASE WHEN o_woken THEN p_now ELSE available_at END,
           ready_at = CASE WHEN o_woken THEN p_now ELSE ready_at END,
           journal_length = o_delivered_as, undelivered_seq = r.undelivered_seq,
           open_calls = v_open, open_seq = v_open_seq, waiting_on_stack_run_id = NULL,
           updated_at = o_at
     WHERE id = o_root;
  END IF;
END $$;

CREATE OR REPLACE FUNCTION clear_v1(p_lock_ms integer, p_token bigint, p_again boolean, OUT o_runs bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  PERFORM pg_advisory_xact_lock(p_token);  -- as in submit_v1
  IF p_again THEN
    SELECT value INTO o_runs FROM meta WHERE key = 'cleared' AND token = p_token;
    IF FOUND THEN RETURN; END IF;
  END IF;
  LOCK TABLE stack_runs, task_runs, attempts, task_logs, checkpoints, child_tasks, child_cancels
    IN ACCESS EXCLUSIVE MODE;
  SELECT count(*) INTO o_runs FROM task_runs;
  TRUNCATE stack_runs, task_runs, attempts, task_logs, checkpoints, child_tasks, child_cancels;
  INSERT INTO meta (key, value, token) VALUES ('cleared', o_runs, p_token)
  ON CONFLICT (key) DO UPDATE SET value = excluded.value, token = excluded.token;
END $$;
