-- publish, submit, record_outcome, commit_slice, slice_lost. 0002 explains the shared parameters.

CREATE FUNCTION publish_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_name bytea,
    p_code bytea, p_sha256 bytea, p_description bytea, p_schema bytea, p_options bytea,
    OUT o_id bigint, OUT o_version integer, OUT o_created boolean)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  f record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  FOR i IN 1 .. 1000 LOOP  -- again if another publish of that name came first
    SELECT id, version, code_sha256, token INTO f FROM task_functions
     WHERE name = p_name ORDER BY version DESC LIMIT 1;
    IF f.code_sha256 = p_sha256 THEN
      o_id := f.id;
      o_version := f.version;
      o_created := f.token = p_token;
      RETURN;
    END IF;
    INSERT INTO task_functions (id, created_at, token, version, name, code_sha256, description,
                                input_schema, options, code)
    VALUES (nextval('task_function_ids'), now_ms(p_now), p_token, coalesce(f.version, 0) + 1,
            p_name, p_sha256, p_description, p_schema, p_options, p_code)
    ON CONFLICT (name, version) DO NOTHING RETURNING id, version INTO o_id, o_version;
    IF o_id IS NOT NULL THEN
      o_created := true;
      RETURN;
    END IF;
  END LOOP;
END $$;

-- p_floor: a task run id that was given out before this submit was first sent.
CREATE FUNCTION submit_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_floor bigint, p_function bigint, p_task_name bytea, p_version integer, p_input bytea,
    p_key bytea, p_hash bytea, p_priority integer, p_queue_key bytea, p_tags bytea,
    p_parent bigint, p_delay bigint, p_seed bytea, p_node text, p_lease bigint,
    OUT o_code text, OUT o_message text, OUT o_run bigint, OUT o_root bigint, OUT o_status text,
    OUT o_created_at bigint, OUT o_existing boolean, OUT o_lease_until bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_claimed boolean := p_node <> '' AND p_delay <= 0;
  v_at bigint := v_now + greatest(p_delay, 0);
  t record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  o_existing := false;
  -- A try whose connection broke may still be at work on the server: this one waits for its end.
  PERFORM pg_advisory_xact_lock(p_token);
  IF p_again THEN
    SELECT id, root_stack_run_id, created_at INTO t FROM task_runs
     WHERE id > p_floor AND token = p_token ORDER BY id LIMIT 1;
    IF FOUND THEN
      o_run := t.id;
      o_root := t.root_stack_run_id;
      o_created_at := t.created_at;
      UPDATE stack_runs SET lease_until = v_now + p_lease
       WHERE id = o_root AND v_claimed AND epoch = 1 AND status = 'processing'
      RETURNING lease_until INTO o_lease_until;
      o_status := CASE WHEN o_lease_until IS NULL THEN 'queued' ELSE 'running' END;
      RETURN;
    END IF;
  END IF;
  FOR i IN 1 .. 10 LOOP  -- again if another submit with that key was committed or undone meanwhile
    IF p_key <> '' THEN
      SELECT s.id, s.root_stack_run_id, s.created_at, s.request_hash,
             CASE WHEN s.status = 'running' AND r.status = 'suspended_waiting_child'
                  THEN r.status ELSE s.status END AS status
        INTO t FROM task_runs s JOIN stack_runs r ON r.id = s.root_stack_run_id
       WHERE s.idempotency_key = p_key;
      IF FOUND THEN
        o_run := t.id;
        IF t.request_hash IS DISTINCT FROM or_null(p_hash) THEN
          o_code := 'idempotency_conflict';
          o_message := 'this idempotency key belongs to task run ' || t.id
                       || ', which was submitted with a different request';
          RETURN;
        END IF;
        o_root := t.root_stack_run_id;
        o_status := t.status;
        o_created_at := t.created_at;
        o_existing := true;
        RETURN;
      END IF;
    END IF;
    PERFORM 1 FROM task_functions WHERE id = p_function;
    IF NOT FOUND THEN
      o_code := 'task_not_found';
      o_message := 'no task function has the id ' || p_function;
      RETURN;
    END IF;
    IF p_parent > 0 THEN
      PERFORM 1 FROM stack_runs WHERE id = p_parent;
      IF NOT FOUND THEN
        o_code := 'not_found';
        o_message := 'the parent call ' || p_parent || ' does not exist';
        RETURN;
      END IF;
    END IF;
    o_status := CASE WHEN v_claimed THEN 'running' ELSE 'queued' END;
    INSERT INTO task_runs (id, task_function_id, root_stack_run_id, parent_stack_run_id, token,
                           created_at, updated_at, started_at, priority, task_version, status,
                           task_name, idempotency_key, request_hash, queue_key, seed, tags, input)
    VALUES (nextval('task_run_ids'), p_function, nextval('stack_run_ids'), nullif(p_parent, 0),
            p_token, v_now, v_now, CASE WHEN v_claimed THEN v_now END, p_priority, p_version,
            o_status, p_task_name, or_null(p_key), or_null(p_hash), or_null(p_queue_key), p_seed,
            or_null(p_tags), p_input)
    ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id, root_stack_run_id INTO o_run, o_root;
    EXIT WHEN o_run IS NOT NULL;
  END LOOP;
  IF o_run IS NULL THEN
    o_code := 'unavailable';
    o_message := 'other submits with this idempotency key were under way: try again';
    RETURN;
  END IF;
  o_created_at := v_now;
  IF v_claimed THEN o_lease_until := v_now + p_lease; END IF;
  INSERT INTO stack_runs (id, task_run_id, seq, parent_stack_run_id, epoch, token, available_at,
                          lease_owner, lease_until, ready_at, watch_at, slice, delivered_as,
                          created_at, updated_at, started_at, journal_length, delivered_through,
                          undelivered_seq, call_count, open_calls, open_seq, log_count,
                          task_function_id, priority, attempt, crashes, status, task_name)
  VALUES (o_root, o_run, 0, nullif(p_parent, 0), v_claimed::int, p_token, v_at,
          CASE WHEN v_claimed THEN p_node END, o_lease_until,
          CASE WHEN NOT v_claimed THEN v_at END, o_lease_until, 0, 0, v_now, v_now,
          CASE WHEN v_claimed THEN v_now END, 0, 0, 1, 0, 0, 1, 0, p_function, p_priority,
          v_claimed::int, 0, CASE WHEN v_claimed THEN 'processing' ELSE 'pending' END,
          p_task_name);
END $$;

-- A call has its final outcome: journalled unless its run has ended, and the root woken if it was
-- waiting. p_epoch 0: whoever holds it (its child task has ended). o_held false: nothing changed.
CREATE FUNCTION end_call(p_now bigint, p_token bigint, p_again boolean, p_call bigint,
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

CREATE TYPE outcome_answer AS (
  code text, message text, delivered_as bigint, at bigint, available_at bigint, run bigint,
  root bigint, woken boolean, epoch bigint, attempt integer, lease_until bigint, function bigint,
  task_name bytea
);

CREATE FUNCTION record_outcome_v1(p_now bigint, p_lock_ms integer, p_token bigint,
    p_again boolean, p_call bigint, p_run bigint, p_epoch bigint, p_end text, p_payload bytea,
    p_retry_after bigint, p_via smallint, p_hop_us bigint, p_node text, p_lease bigint)
RETURNS outcome_answer LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_held boolean;
  v_paused boolean;
  v_root bigint;
  v_position bigint;
  v_at bigint;
  v_epoch bigint;
  v_attempt integer;
  v_function bigint;
  v_name bytea;
  v_seq bigint;
  v_set text;
  c record;
  o outcome_answer;
BEGIN
  IF p_lock_ms > 0 THEN v_set := set_config('lock_timeout', p_lock_ms::text, true); END IF;
  -- By far the most usual outcome is the one that its run waits for, of its only open call: see
  -- commit_slice_v1 about its own way through.
  IF NOT p_again AND p_node <> '' AND p_end <> 'retry' THEN
    SELECT r.id, r.journal_length + 1, greatest(v_now, r.updated_at), r.epoch + 1, r.attempt + 1,
           r.task_function_id, r.task_name
      INTO v_root, v_position, v_at, v_epoch, v_attempt, v_function, v_name
      FROM stack_runs r
     WHERE r.id = (SELECT x.parent_stack_run_id FROM stack_runs x
                    WHERE x.id = p_call AND x.seq > 0)
       AND r.task_run_id + 0 = p_run AND r.status = 'suspended_waiting_child'
       AND r.open_calls = 1 AND r.journal_length = r.delivered_through
       FOR NO KEY UPDATE;
    IF FOUND THEN
      UPDATE stack_runs SET status = p_end,
             result = CASE WHEN p_end = 'completed' THEN or_null(p_payload) END,
             error = CASE WHEN p_end = 'failed' THEN or_null(p_payload) END,
             delivered_as = v_position, via = CASE WHEN p_via >= 0 THEN p_via ELSE via END,
             hop_us = CASE WHEN p_hop_us >= 0 THEN p_hop_us ELSE hop_us END, updated_at = v_at,
             ended_at = v_at, token = p_token, ready_at = NULL, watch_at = NULL
       WHERE id = p_call AND ended_at IS NULL AND epoch = greatest(p_epoch, 1)
         AND status = 'processing'
      RETURNING seq INTO v_seq;
      IF FOUND THEN
        UPDATE stack_runs SET status = 'processing', epoch = v_epoch, attempt = v_attempt,
               available_at = v_now, lease_owner = p_node, lease_until = v_now + p_lease,
               started_at = v_now, token = p_token,
               watch_at = earlier(watch_at, v_now + p_lease), journal_length = v_position,
               undelivered_seq = v_seq, open_calls = 0, open_seq = call_count + 1,
               waiting_on_stack_run_id = NULL, updated_at = v_at
         WHERE id = v_root;
        RETURN ('', NULL, v_position, v_at, NULL, p_run, v_root, true, v_epoch, v_attempt,
                v_now + p_lease, v_function, v_name)::outcome_answer;
      END IF;
    END IF;
  END IF;

  o.code := '';
  IF p_end <> 'retry' THEN
    SELECT e.o_held, e.o_delivered_as, e.o_at, e.o_run, e.o_root, e.o_woken, e.o_epoch,
           e.o_attempt, e.o_lease_until, e.o_function, e.o_task_name
      INTO v_held, o.delivered_as, o.at, o.run, o.root, o.woken, o.epoch, o.attempt,
           o.lease_until, o.function, o.task_name
      FROM end_call(v_now, p_token, p_again, p_call, p_run, greatest(p_epoch, 1),
                    p_end = 'failed', p_payload, p_via, p_hop_us, p_node, p_lease) e;
  ELSE
    o.woken := false;
    o.delivered_as := 0;
    o.at := v_now;
    o.available_at := v_now + p_retry_after;
    SELECT r.run_paused INTO v_paused FROM stack_runs r
     WHERE r.id = (SELECT x.parent_stack_run_id FROM stack_runs x
                    WHERE x.id = p_call AND x.seq > 0 AND x.task_run_id + 0 = p_run)
       FOR NO KEY UPDATE;
    UPDATE stack_runs SET status = CASE WHEN v_paused THEN 'paused' ELSE 'pending' END,
           available_at = o.available_at, updated_at = v_now, token = p_token, watch_at = NULL,
           ready_at = CASE WHEN v_paused THEN NULL ELSE o.available_at END,
           via = CASE WHEN p_via >= 0 THEN p_via ELSE via END,
           hop_us = CASE WHEN p_hop_us >= 0 THEN p_hop_us ELSE hop_us END
     WHERE id = p_call AND v_paused IS NOT NULL AND epoch = p_epoch AND status = 'processing'
    RETURNING attempt, lease_owner, started_at INTO c;
    v_held := FOUND;
    IF v_held THEN
      INSERT INTO attempts (stack_run_id, epoch, attempt, token, node, started_at, ended_at,
                            outcome, error)
      VALUES (p_call, p_epoch, c.attempt, p_token, c.lease_owner, c.started_at, v_now, 'failed',
              or_null(p_payload));
    ELSIF p_again THEN
      SELECT a.ended_at, a.ended_at + p_retry_after INTO o.at, o.available_at FROM attempts a
       WHERE a.stack_run_id = p_call AND a.epoch = p_epoch AND a.token = p_token;
      v_held := FOUND;
    END IF;
  END IF;
  IF NOT v_held THEN
    o.code := 'fenced';
    o.message := 'the call is not held under this claim';
  END IF;
  RETURN o;
END $$;

-- Pending calls become paused, and nothing of the run is offered to claimers. The caller holds the
-- root's lock and writes the root.
CREATE FUNCTION pause_everything(p_now bigint, p_run bigint, p_open_seq bigint, p_reason bytea,
    p_detail bytea) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE stack_runs SET status = CASE WHEN status = 'pending' THEN 'paused' ELSE status END,
         updated_at = CASE WHEN status = 'pending' THEN p_now ELSE updated_at END, ready_at = NULL
   WHERE task_run_id = p_run AND seq >= greatest(p_open_seq, 1) AND ended_at IS NULL
     AND (status = 'pending' OR ready_at IS NOT NULL);
  UPDATE task_runs SET status = 'paused', pause_reason = p_reason, pause_detail = or_null(p_detail),
         updated_at = p_now
   WHERE id = p_run AND ended_at IS NULL;
END $$;

-- The slice ended without a result: the root is runnable again, or paused.
CREATE FUNCTION slice_lost_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_root bigint, p_run bigint, p_epoch bigint, p_killed boolean, p_crashes_max integer,
    p_detail bytea,
    OUT o_code text, OUT o_message text, OUT o_crashes integer, OUT o_paused boolean)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_stays boolean;
  r record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  o_paused := false;
  SELECT seq, task_run_id, epoch, status, crashes, attempt, lease_owner, started_at, run_paused,
         open_seq, available_at
    INTO r FROM stack_runs WHERE id = p_root FOR NO KEY UPDATE;
  IF NOT FOUND OR r.seq <> 0 OR r.task_run_id <> p_run OR r.epoch <> p_epoch
     OR r.status <> 'processing' THEN
    IF p_again AND EXISTS (SELECT 1 FROM attempts WHERE stack_run_id = p_root AND epoch = p_epoch
                              AND token = p_token) THEN
      o_crashes := r.crashes;
      o_paused := p_killed AND r.crashes >= p_crashes_max;
      RETURN;
    END IF;
    o_code := 'fenced';
    o_message := 'the stack run is not held under this claim';
    RETURN;
  END IF;
  o_crashes := r.crashes + p_killed::int;
  o_paused := p_killed AND o_crashes >= p_crashes_max;
  v_stays := NOT o_paused AND NOT r.run_paused;
  INSERT INTO attempts (stack_run_id, epoch, attempt, token, node, started_at, ended_at, outcome,
                        error)
  VALUES (p_root, p_epoch, r.attempt, p_token, r.lease_owner, r.started_at, v_now,
          CASE WHEN p_killed THEN 'lost' ELSE 'released' END,
          CASE WHEN p_killed THEN or_null(p_detail) END);
  IF p_killed AND v_stays THEN r.available_at := v_now; END IF;
  UPDATE stack_runs SET status = CASE WHEN v_stays THEN 'pending' ELSE 'paused' END,
         available_at = r.available_at,
         ready_at = CASE WHEN v_stays THEN greatest(r.available_at, v_now) END,
         crashes = o_crashes, token = p_token, updated_at = v_now,
         attempt = r.attempt - (NOT p_killed)::int,
         run_paused = run_paused OR o_paused,
         waiting_on_stack_run_id = CASE WHEN p_killed THEN NULL ELSE waiting_on_stack_run_id END
   WHERE id = p_root;
  IF o_paused THEN
    PERFORM pause_everything(v_now, p_run, r.open_seq, 'poison', p_detail);
  END IF;
END $$;
