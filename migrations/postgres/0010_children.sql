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
