-- expand
-- Places where what belongs to a run is kept in step with it, in the same transaction: when it has
-- been submitted, when a slice has stored logs, and when it has ended. They do nothing yet. A slice
-- can end its run as cancelled, too.

CREATE FUNCTION run_submitted(p_now bigint, p_run bigint, p_tags bytea)
RETURNS void LANGUAGE sql AS $$ $$;

-- p_before: how many log entries the run had before those.
CREATE FUNCTION logs_stored(p_run bigint, p_at bigint, p_before bigint, p_levels bytea[],
    p_messages bytea[])
RETURNS void LANGUAGE sql AS $$ $$;

-- The root is locked, and has its final status.
CREATE FUNCTION run_over(p_at bigint, p_run bigint, p_status text)
RETURNS void LANGUAGE sql AS $$ $$;

CREATE OR REPLACE FUNCTION submit_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
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
  PERFORM run_submitted(v_now, o_run, p_tags);
END $$;

CREATE OR REPLACE FUNCTION commit_slice_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_lazy boolean, p_root bigint, p_run bigint, p_epoch bigint, p_delivered bigint, p_end text,
    p_payload bytea, p_reason bytea, p_resume_kind smallint, p_resume_us bigint, p_node text,
    p_lease bigint, p_claims_max integer, p_ids bigint[], p_seqs bigint[], p_services bytea[],
    p_methods bytea[], p_args bytea[], p_options bytea[], p_deliveries smallint[],
    p_delays bigint[], p_lines integer[], p_log_levels bytea[], p_log_messages bytea[],
    p_log_fields bytea[])
RETURNS slice_answer LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_calls integer;
  v_logs integer;
  v_ended boolean;
  v_at bigint;
  v_paused boolean;
  v_done boolean;
  v_waiting bigint;
  v_claimed boolean;
  v_slice bigint;
  v_priority integer;
  v_open bigint;
  v_open_seq bigint;
  v_watch bigint;
  v_function bigint;
  v_name bytea;
  v_set text;
  r stack_runs;
  o slice_answer;
BEGIN
  IF p_lock_ms > 0 THEN v_set := set_config('lock_timeout', p_lock_ms::text, true); END IF;
  -- By far the most usual slice asks for one call and waits for it. Its own way through costs the
  -- server half: few columns, few expressions (each is set up anew in every transaction).
  IF p_end = 'suspended' AND cardinality(p_seqs) = 1 AND cardinality(p_log_levels) = 0 THEN
    SELECT greatest(v_now, updated_at), slice + 1, priority, open_calls + 1,
           CASE WHEN open_calls = 0 THEN call_count + 1 ELSE open_seq END,
           CASE WHEN p_node <> '' THEN earlier(watch_at, v_now + p_lease) ELSE watch_at END,
           task_function_id, task_name,
           p_node <> '' AND p_delays[1] <= 0 AND p_claims_max >= 1
      INTO v_at, v_slice, v_priority, v_open, v_open_seq, v_watch, v_function, v_name, v_claimed
      FROM stack_runs
     WHERE id = p_root AND epoch = p_epoch AND status = 'processing' AND seq = 0
       AND task_run_id + 0 = p_run AND call_count + 1 = p_seqs[1] AND NOT run_paused
       AND crashes = 0 AND ready_at IS NULL AND journal_length = p_delivered
       AND delivered_through <= p_delivered
       FOR NO KEY UPDATE;
    IF FOUND THEN
      INSERT INTO stack_runs (id, task_run_id, seq, parent_stack_run_id, epoch, attempt, token,
          available_at, lease_owner, lease_until, ready_at, slice, delivered_as, created_at,
          updated_at, started_at, priority, delivery, source_line, resume_kind, resume_us, status,
          service_name, method_name, options, args)
      VALUES (p_ids[1], p_run, p_seqs[1], p_root, v_claimed::int, v_claimed::int, p_token,
          v_now + greatest(p_delays[1], 0), CASE WHEN v_claimed THEN p_node END,
          CASE WHEN v_claimed THEN v_now + p_lease END,
          CASE WHEN NOT v_claimed THEN v_now + greatest(p_delays[1], 0) END, v_slice, 0, v_at,
          v_at, CASE WHEN v_claimed THEN v_at END, v_priority, p_deliveries[1], p_lines[1],
          CASE WHEN p_resume_kind >= 0 THEN p_resume_kind END,
          CASE WHEN p_resume_kind >= 0 THEN p_resume_us END,
          CASE WHEN v_claimed THEN 'processing' ELSE 'pending' END, p_services[1], p_methods[1],
          or_null(p_options[1]), p_args[1]);
      UPDATE stack_runs SET status = 'suspended_waiting_child', attempt = 0, token = p_token,
             watch_at = v_watch, slice = v_slice, updated_at = v_at,
             delivered_through = p_delivered, call_count = p_seqs[1], open_calls = v_open,
             open_seq = v_open_seq,
             waiting_on_stack_run_id = CASE WHEN v_open = 1 THEN p_ids[1] END,
             resume_kind = CASE WHEN p_resume_kind >= 0 THEN p_resume_kind ELSE resume_kind END,
             resume_us = CASE WHEN p_resume_kind >= 0 THEN p_resume_us ELSE resume_us END
       WHERE id = p_root;
      IF p_lazy THEN v_set := set_config('synchronous_commit', 'off', true); END IF;
      RETURN ('', NULL, 'suspended_waiting_child', v_now, p_ids, NULL, NULL, v_now + p_lease,
              v_function, v_name, false, NULL, NULL, false, NULL, NULL, NULL, NULL, NULL, NULL,
              NULL)::slice_answer;
    END IF;
  END IF;

  v_calls := cardinality(p_seqs);
  v_logs := cardinality(p_log_levels);
  v_ended := p_end IN ('completed', 'failed', 'cancelled');
  o.code := '';
  o.now := v_now;
  o.root_woken := false;
  o.parent_woken := false;
  SELECT * INTO r FROM stack_runs WHERE id = p_root FOR NO KEY UPDATE;
  IF NOT FOUND OR r.seq <> 0 OR r.epoch <> p_epoch OR r.task_run_id <> p_run
     OR r.status <> 'processing' THEN
    IF p_again AND r.seq = 0 AND r.task_run_id = p_run THEN
      o.function := r.task_function_id;
      o.task_name := r.task_name;
      SELECT * INTO v_done, o.status, o.ids, o.epochs, o.available_at, o.root_woken, o.root_epoch,
             o.root_attempt, o.lease_until
        FROM slice_committed_before(v_now, r, p_token, p_epoch, p_end, p_seqs, p_node, p_lease);
      IF v_done AND v_ended AND r.parent_stack_run_id IS NOT NULL THEN
        SELECT e.o_woken, e.o_run, e.o_root, e.o_epoch, e.o_attempt, e.o_lease_until,
               e.o_function, e.o_task_name
          INTO o.parent_woken, o.parent_run, o.parent_root, o.parent_epoch, o.parent_attempt,
               o.parent_lease_until, o.parent_function, o.parent_task_name
          FROM end_call(v_now, p_token, true, r.parent_stack_run_id, 0, 0, p_end <> 'completed',
                        p_payload, -1::smallint, -1, p_node, p_lease) e;
      END IF;
      IF v_done THEN RETURN o; END IF;
    END IF;
    o.code := 'fenced';
    o.message := 'the stack run is not held under this claim';
    RETURN o;
  END IF;

  IF p_end = 'paused' THEN
    IF v_calls > 0 OR v_logs > 0 THEN
      o.code := 'conflict';
      o.message := 'a slice that pauses its run stores no calls and no logs';
      RETURN o;
    END IF;
    UPDATE stack_runs SET status = 'paused', waiting_on_stack_run_id = NULL, run_paused = true,
           token = p_token, ready_at = NULL, updated_at = v_now
     WHERE id = p_root;
    PERFORM pause_everything(v_now, p_run, r.open_seq, p_reason, p_payload);
    o.status := 'paused';
    RETURN o;
  END IF;
  FOR i IN 1 .. v_calls LOOP
    IF p_seqs[i] <> r.call_count + i THEN
      o.code := 'conflict';
      o.message := 'the slice''s calls must go on from number ' || r.call_count + 1
                   || ', but one has ' || p_seqs[i] || ' where ' || r.call_count + i || ' is next';
      RETURN o;
    END IF;
  END LOOP;
  IF p_delivered < r.delivered_through OR p_delivered > r.journal_length THEN
    o.code := 'conflict';
    o.message := 'the slice says it has seen the journal through ' || p_delivered
                 || ', which is not between ' || r.delivered_through || ' and '
                 || r.journal_length;
    RETURN o;
  END IF;

  v_paused := r.run_paused AND NOT v_ended;
  v_at := greatest(v_now, r.updated_at);  -- never before what the run's journal already shows
  o.function := r.task_function_id;
  o.task_name := r.task_name;
  o.lease_until := v_now + p_lease;
  r.slice := r.slice + 1;
  IF r.open_calls = 0 THEN r.open_seq := r.call_count + 1; END IF;
  IF v_calls = 1 THEN  -- the usual one, without the machinery for arrays
    v_claimed := p_node <> '' AND p_delays[1] <= 0 AND NOT v_paused AND p_claims_max >= 1;
    INSERT INTO stack_runs (id, task_run_id, seq, parent_stack_run_id, epoch, attempt, token,
        available_at, lease_owner, lease_until, ready_at, slice, delivered_as, created_at,
        updated_at, started_at, priority, delivery, source_line, resume_kind, resume_us, status,
        service_name, method_name, options, args)
    VALUES (p_ids[1], p_run, p_seqs[1], p_root, v_claimed::int, v_claimed::int,
        p_token, v_now + greatest(p_delays[1], 0), CASE WHEN v_claimed THEN p_node END,
        CASE WHEN v_claimed THEN o.lease_until END,
        CASE WHEN NOT v_claimed AND NOT v_paused THEN v_now + greatest(p_delays[1], 0) END,
        r.slice, 0, v_at, v_at, CASE WHEN v_claimed THEN v_at END, r.priority, p_deliveries[1],
        p_lines[1], CASE WHEN p_resume_kind >= 0 THEN p_resume_kind END,
        CASE WHEN p_resume_kind >= 0 THEN p_resume_us END,
        CASE WHEN v_paused THEN 'paused' WHEN v_claimed THEN 'processing' ELSE 'pending' END,
        p_services[1], p_methods[1], or_null(p_options[1]), p_args[1]);
  ELSIF v_calls > 1 THEN
    PERFORM insert_calls(r, v_now, v_at, p_token, v_paused, p_node, p_lease, p_claims_max,
                         p_resume_kind, p_resume_us, p_ids, p_seqs, p_services, p_methods, p_args,
                         p_options, p_deliveries, p_delays, p_lines);
  END IF;
  IF v_logs > 0 THEN
    INSERT INTO task_logs (task_run_id, n, at, level, message, fields)
    SELECT p_run, r.log_count + u.n, v_at, u.level, u.message, or_null(u.fields)
      FROM unnest(p_log_levels, p_log_messages, p_log_fields) WITH ORDINALITY
           AS u (level, message, fields, n);
    PERFORM logs_stored(p_run, v_at, r.log_count, p_log_levels, p_log_messages);
  END IF;
  o.ids := p_ids;
  r.call_count := r.call_count + v_calls;
  r.open_calls := r.open_calls + v_calls;
  IF v_calls > 0 AND p_node <> '' THEN r.watch_at := earlier(r.watch_at, o.lease_until); END IF;
  r.attempt := 0;
  r.ready_at := NULL;

  IF v_ended THEN
    r.status := p_end;
    o.status := p_end;
    IF r.open_calls = 0 THEN r.watch_at := NULL; END IF;
    IF r.run_paused THEN
      UPDATE stack_runs SET status = 'pending', ready_at = greatest(available_at, v_at),
             updated_at = v_at
       WHERE task_run_id = p_run AND seq >= r.open_seq AND status = 'paused' AND seq > 0;
      r.watch_at := 0;  -- leases that ended while it was paused are looked at again
      r.run_paused := false;
    END IF;
  ELSIF v_paused THEN
    r.status := 'paused';
    o.status := 'paused';
  ELSIF r.journal_length > p_delivered THEN
    o.status := 'running';
    o.root_woken := true;
    r.available_at := v_now;
    IF p_node <> '' THEN
      r.status := 'processing';
      r.epoch := r.epoch + 1;
      r.attempt := 1;
      r.lease_owner := p_node;
      r.lease_until := o.lease_until;
      r.started_at := v_now;
      r.watch_at := earlier(r.watch_at, o.lease_until);
      o.root_epoch := r.epoch;
      o.root_attempt := 1;
    ELSE
      r.status := 'pending';
      r.ready_at := v_now;
    END IF;
  ELSE
    r.status := 'suspended_waiting_child';
    o.status := r.status;
    IF r.open_calls = 1 THEN
      v_waiting := p_ids[1];
      IF v_waiting IS NULL THEN
        SELECT id INTO v_waiting FROM stack_runs
         WHERE task_run_id = p_run AND seq >= r.open_seq AND seq > 0 AND ended_at IS NULL
         ORDER BY seq LIMIT 1;
      END IF;
    END IF;
  END IF;
  -- May be lost with the server: the slice is then replayed. A new claim may not: its epoch would
  -- be given out twice.
  IF p_lazy AND o.root_epoch IS NULL THEN
    v_set := set_config('synchronous_commit', 'off', true);
  END IF;
  UPDATE stack_runs SET status = r.status, epoch = r.epoch, attempt = r.attempt, token = p_token,
         available_at = r.available_at, lease_owner = r.lease_owner, lease_until = r.lease_until,
         ready_at = r.ready_at, watch_at = r.watch_at, slice = r.slice, updated_at = v_at,
         started_at = r.started_at, ended_at = CASE WHEN v_ended THEN v_at END,
         delivered_through = p_delivered, call_count = r.call_count, open_calls = r.open_calls,
         open_seq = r.open_seq, log_count = r.log_count + v_logs, crashes = 0,
         waiting_on_stack_run_id = v_waiting, run_paused = r.run_paused,
         resume_kind = CASE WHEN p_resume_kind >= 0 THEN p_resume_kind ELSE resume_kind END,
         resume_us = CASE WHEN p_resume_kind >= 0 THEN p_resume_us ELSE resume_us END
   WHERE id = p_root;
  IF NOT v_ended THEN RETURN o; END IF;

  -- What it left unfinished goes on to its own recorded end.
  UPDATE task_runs SET status = p_end, pause_reason = NULL, pause_detail = NULL,
         result = CASE WHEN p_end = 'completed' THEN or_null(p_payload) END,
         error = CASE WHEN p_end <> 'completed' THEN or_null(p_payload) END,
         updated_at = v_at, ended_at = v_at
   WHERE id = p_run AND ended_at IS NULL;
  PERFORM run_over(v_at, p_run, p_end);
  IF r.parent_stack_run_id IS NOT NULL THEN
    SELECT e.o_woken, e.o_run, e.o_root, e.o_epoch, e.o_attempt, e.o_lease_until, e.o_function,
           e.o_task_name
      INTO o.parent_woken, o.parent_run, o.parent_root, o.parent_epoch, o.parent_attempt,
           o.parent_lease_until, o.parent_function, o.parent_task_name
      FROM end_call(v_now, p_token, false, r.parent_stack_run_id, 0, 0, p_end <> 'completed',
                    p_payload, -1::smallint, -1, p_node, p_lease) e;
  END IF;
  RETURN o;
END $$;

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
    PERFORM run_over(v_now, p_run, 'cancelled');
  END IF;
  IF r.parent_stack_run_id IS NOT NULL THEN
    SELECT e.o_woken, e.o_run, e.o_root INTO o_woken, o_parent_run, o_parent_root
      FROM end_call(v_now, p_token, p_again, r.parent_stack_run_id, 0, 0, true, p_error,
                    -1::smallint, -1, '', 0) e;
  END IF;
END $$;
