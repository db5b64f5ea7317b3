-- commit_slice: the calls and logs of a slice, and how it ended, in one transaction. 0002 explains
-- the shared parameters.

-- Ids for stack runs to come. Calls are inserted by commits that may be lost with a crash of the
-- server (synchronous_commit off); taken from the sequence there, an id could be given out again
-- while a node still acts for its first bearer, and an outcome would reach the wrong call. So nodes
-- take ids in advance, by a commit that is on disk, with all that was logged of the sequence before
-- it (the transaction id makes the commit wait for the disk even if this call logged nothing).
CREATE FUNCTION stack_run_ids_v1(p_count integer, OUT o_ids bigint[])
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM pg_current_xact_id();
  SELECT array_agg(nextval('stack_run_ids')) INTO o_ids FROM generate_series(1, p_count);
END $$;

-- A commit sent again: what it did, as far as it is still this node's to act on.
CREATE FUNCTION slice_committed_before(p_now bigint, r stack_runs, p_token bigint, p_epoch bigint,
    p_end text, p_seqs bigint[], p_node text, p_lease bigint,
    OUT o_done boolean, OUT o_status text, OUT o_ids bigint[], OUT o_epochs bigint[],
    OUT o_available_at bigint[], OUT o_root_woken boolean, OUT o_root_epoch bigint,
    OUT o_root_attempt integer, OUT o_lease_until bigint)
LANGUAGE plpgsql AS $$
BEGIN
  -- Either the root still shows it, or others have worked on the root since: then this claim ended
  -- in an attempt that was lost or given back (and has a row), in a cancellation, or in a commit.
  o_done := r.token = p_token
            OR (r.epoch > p_epoch AND r.status <> 'cancelled'
                AND NOT EXISTS (SELECT 1 FROM attempts
                                 WHERE stack_run_id = r.id AND epoch = p_epoch));
  IF NOT o_done THEN RETURN; END IF;
  o_lease_until := p_now + p_lease;
  UPDATE stack_runs SET lease_until = o_lease_until
   WHERE task_run_id = r.task_run_id AND seq = ANY (p_seqs) AND status = 'processing'
     AND epoch = 1 AND lease_owner = p_node;
  SELECT coalesce(array_agg(id ORDER BY seq), '{}'),
         coalesce(array_agg(CASE WHEN status = 'processing' AND epoch = 1 AND lease_owner = p_node
                                 THEN 1 ELSE 0 END ORDER BY seq), '{}'),
         coalesce(array_agg(available_at ORDER BY seq), '{}')
    INTO o_ids, o_epochs, o_available_at FROM stack_runs
   WHERE task_run_id = r.task_run_id AND seq = ANY (p_seqs);
  o_root_woken := r.status = 'pending';
  o_status := CASE WHEN p_end <> 'suspended' THEN p_end
                   WHEN r.status IN ('pending', 'processing') THEN 'running' ELSE r.status END;
  IF r.status = 'processing' AND r.token = p_token AND r.lease_owner = p_node THEN
    o_root_woken := true;
    o_root_epoch := r.epoch;
    o_root_attempt := r.attempt;
    UPDATE stack_runs SET lease_until = o_lease_until WHERE id = r.id;
  END IF;
END $$;

CREATE FUNCTION insert_calls(p_root stack_runs, p_now bigint, p_at bigint, p_token bigint,
    p_paused boolean, p_node text, p_lease bigint, p_claims_max integer, p_resume_kind smallint,
    p_resume_us bigint, p_ids bigint[], p_seqs bigint[], p_services bytea[],
    p_methods bytea[], p_args bytea[], p_options bytea[], p_deliveries smallint[],
    p_delays bigint[], p_lines integer[])
RETURNS void LANGUAGE sql AS $$
  INSERT INTO stack_runs (id, task_run_id, seq, parent_stack_run_id, epoch, attempt, token,
      available_at, lease_owner, lease_until, ready_at, slice, delivered_as, created_at,
      updated_at, started_at, priority, delivery, source_line, resume_kind, resume_us, status,
      service_name, method_name, options, args)
  SELECT c.id, p_root.task_run_id, c.seq, p_root.id, c.claimed::int, c.claimed::int, p_token,
         c.at, CASE WHEN c.claimed THEN p_node END, CASE WHEN c.claimed THEN p_now + p_lease END,
         CASE WHEN NOT c.claimed AND NOT p_paused THEN c.at END, p_root.slice, 0, p_at, p_at,
         CASE WHEN c.claimed THEN p_at END, p_root.priority, c.delivery, c.line,
         CASE WHEN p_resume_kind >= 0 THEN p_resume_kind END,
         CASE WHEN p_resume_kind >= 0 THEN p_resume_us END,
         CASE WHEN p_paused THEN 'paused' WHEN c.claimed THEN 'processing' ELSE 'pending' END,
         c.service, c.method, or_null(c.options), c.args
    FROM (SELECT u.*, p_now + greatest(u.delay, 0) AS at,
                 p_node <> '' AND u.delay <= 0 AND NOT p_paused AND u.n <= p_claims_max AS claimed
            FROM unnest(p_ids, p_seqs, p_services, p_methods, p_args, p_options, p_deliveries,
                        p_delays, p_lines) WITH ORDINALITY
                 AS u (id, seq, service, method, args, options, delivery, delay, line, n)) c
$$;

CREATE TYPE slice_answer AS (
  code text, message text, status text, now bigint, ids bigint[], epochs bigint[],
  available_at bigint[], lease_until bigint, function bigint, task_name bytea,
  root_woken boolean, root_epoch bigint, root_attempt integer, parent_woken boolean,
  parent_run bigint, parent_root bigint, parent_epoch bigint, parent_attempt integer,
  parent_lease_until bigint, parent_function bigint, parent_task_name bytea
);

CREATE FUNCTION commit_slice_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
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
  v_ended := p_end IN ('completed', 'failed');
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
          FROM end_call(v_now, p_token, true, r.parent_stack_run_id, 0, 0, p_end = 'failed',
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
      r.watch_at := v_at;  -- leases that ended while it was paused are looked at again, at once
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
         error = CASE WHEN p_end = 'failed' THEN or_null(p_payload) END,
         updated_at = v_at, ended_at = v_at
   WHERE id = p_run AND ended_at IS NULL;
  IF r.parent_stack_run_id IS NOT NULL THEN
    SELECT e.o_woken, e.o_run, e.o_root, e.o_epoch, e.o_attempt, e.o_lease_until, e.o_function,
           e.o_task_name
      INTO o.parent_woken, o.parent_run, o.parent_root, o.parent_epoch, o.parent_attempt,
           o.parent_lease_until, o.parent_function, o.parent_task_name
      FROM end_call(v_now, p_token, false, r.parent_stack_run_id, 0, 0, p_end = 'failed',
                    p_payload, -1::smallint, -1, p_node, p_lease) e;
  END IF;
  RETURN o;
END $$;
