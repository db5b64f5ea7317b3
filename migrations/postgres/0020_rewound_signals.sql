-- expand
-- Signals, webhooks and what runs start, when runs are retried and forked.

-- Which retry of its run a call was made after: the newest one that kept no call of its number. It
-- stays the same for as long as there is the call, and differs from that of a call of the same number
-- that was removed. What a call sends to other runs bears it in its key.
--   n      task_runs.rewinds after that retry
--   calls  it kept those up to this one
CREATE TABLE retries (
  task_run_id bigint NOT NULL,
  n           bigint NOT NULL,
  calls       bigint NOT NULL,
  PRIMARY KEY (task_run_id, n)
);

-- What calls that are removed (above p_calls) or made again (p_again) did to the run's own signals
-- and webhooks is undone. The caller holds the root, and changes the calls afterwards.
CREATE FUNCTION rewind_signals(p_run bigint, p_rewinds bigint, p_calls bigint, p_again bigint[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_own bytea := convert_to('call:' || p_run || ':', 'UTF8');
BEGIN
  DELETE FROM retries WHERE task_run_id = p_run AND calls >= p_calls;
  INSERT INTO retries (task_run_id, n, calls) VALUES (p_run, p_rewinds, p_calls);
  -- What it sent to itself will be sent anew.
  DELETE FROM signals
   WHERE task_run_id = p_run
     AND CASE WHEN substr(key, 1, length(v_own)) = v_own
              THEN split_part(convert_from(key, 'UTF8'), ':', 3)::bigint > p_calls
              ELSE false END;
  -- The payload is the result of the call that took it.
  UPDATE signals x SET taken_seq = NULL, payload = s.result
    FROM stack_runs s
   WHERE x.task_run_id = p_run AND s.task_run_id = p_run AND s.seq = x.taken_seq
     AND (s.seq > p_calls OR s.id = ANY (p_again)) AND s.status = 'completed'
     AND s.service_name = 'signal'::bytea AND s.method_name = 'wait'::bytea;
  -- Addresses stay known, so that they answer that they are gone.
  UPDATE webhooks SET name = 'gone'::bytea, expires_at = 0, payload = NULL
   WHERE task_run_id = p_run AND name IN (
     SELECT convert_to('webhook:' || s.seq, 'UTF8') FROM stack_runs s
      WHERE s.task_run_id = p_run AND (s.seq > p_calls OR s.id = ANY (p_again))
        AND s.service_name = 'signal'::bytea AND s.method_name = 'webhook'::bytea);
END $$;

-- Calls that wait for a signal and are made again look at once whether there is one; then they wait
-- for as long as they did at first.
CREATE FUNCTION waits_begin_anew(p_now bigint, p_run bigint, p_calls bigint[])
RETURNS void LANGUAGE sql AS $$
  UPDATE stack_runs SET created_at = p_now, available_at = p_now, ready_at = p_now
   WHERE task_run_id = p_run AND id = ANY (p_calls) AND ended_at IS NULL
     AND service_name = 'signal'::bytea AND method_name = 'wait'::bytea
$$;

-- A failed or cancelled run goes on from that point. Of the calls kept, those with a result from
-- after it see it delivered again; those that failed or were cancelled after it are made again, and
-- so is p_call.
CREATE OR REPLACE FUNCTION retry_run_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_run bigint, p_rewinds bigint, p_function bigint, p_version integer, p_through bigint,
    p_calls bigint, p_logs bigint, p_call bigint, p_unknown_again boolean,
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
     AND (status <> 'completed' OR seq = p_call) AND (delivered_as = 0 OR delivered_as > p_through);
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

-- The address of a webhook that a fork has from its source is the source's: one answer is for both.
-- The key of the fork's row is that of the first run's, a colon and the fork's id.
CREATE FUNCTION webhook_address(p_key bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT substr(p_key, 1, coalesce(nullif(position(':'::bytea in p_key), 0) - 1, length(p_key)))
$$;

-- '' or why that fork cannot be: one answer settles at most so many runs.
CREATE FUNCTION webhook_forks_refused(p_source bigint, p_through bigint, p_calls bigint)
RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  k_runs constant integer := 100;
  w record;
BEGIN
  FOR w IN
    SELECT s.seq, webhook_address(x.key) AS address FROM webhooks x
      JOIN stack_runs s ON s.task_run_id = p_source AND s.seq BETWEEN 1 AND p_calls
           AND s.delivered_as BETWEEN 1 AND p_through
           AND x.name = convert_to('webhook:' || s.seq, 'UTF8')
     WHERE x.task_run_id = p_source AND x.used_at IS NULL
  LOOP
    IF (SELECT count(*) FROM webhooks WHERE key >= w.address AND key < w.address || ';'::bytea)
       >= k_runs THEN
      RETURN 'too many runs have the address of the webhook of call ' || w.seq
             || ': fork at that call, so that the fork makes its own';
    END IF;
  END LOOP;
  RETURN '';
END $$;

-- The fork's copies of its source's webhooks, and its waits. p_outcome_seq: the call whose outcome
-- is the fork's own; if it waits for a webhook, that is the webhook's answer in the fork.
CREATE FUNCTION fork_signals(p_now bigint, p_source bigint, p_run bigint, p_outcome_seq bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO webhooks (key, task_run_id, expires_at, used_at, name, rules, payload)
  SELECT webhook_address(w.key) || convert_to(':' || p_run, 'UTF8'), p_run, w.expires_at, w.used_at,
         w.name, w.rules, w.payload
    FROM webhooks w JOIN stack_runs c ON c.task_run_id = p_run AND c.seq > 0
         AND w.name = convert_to('webhook:' || c.seq, 'UTF8')
   WHERE w.task_run_id = p_source AND c.status = 'completed' AND c.seq <> p_outcome_seq
     AND c.service_name = 'signal'::bytea AND c.method_name = 'webhook'::bytea
  ON CONFLICT DO NOTHING;
  UPDATE webhooks w SET used_at = p_now, payload = c.result
    FROM stack_runs c
   WHERE c.task_run_id = p_run AND c.seq = p_outcome_seq AND c.status = 'completed'
     AND c.service_name = 'signal'::bytea AND c.method_name = 'wait'::bytea
     AND w.task_run_id = p_run
     AND substr(c.args, 1, length(w.name) + 3) = '["'::bytea || w.name || '"'::bytea;
  PERFORM waits_begin_anew(p_now, p_run, (SELECT array_agg(id) FROM stack_runs
    WHERE task_run_id = p_run AND seq > 0 AND ended_at IS NULL));
END $$;

-- A new run with the source's journal up to that point. Each call without an outcome by then is
-- made by it anew, after its delay if it has one (p_seqs, p_delays). p_outcome_seq > 0: that call
-- has the outcome p_payload, delivered next.
CREATE OR REPLACE FUNCTION fork_run_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_floor bigint, p_source bigint, p_rewinds bigint, p_function bigint, p_version integer,
    p_through bigint, p_calls bigint, p_logs bigint, p_calls_max bigint, p_has_input boolean,
    p_input bytea, p_outcome_seq bigint, p_failed boolean, p_payload bytea, p_seqs bigint[],
    p_delays bigint[], p_has_priority boolean, p_priority integer, p_has_tags boolean,
    p_tags bytea, p_key bytea, p_hash bytea,
    OUT o_code text, OUT o_message text, OUT o_run bigint, OUT o_root bigint, OUT o_ids bigint[],
    OUT o_existing boolean, OUT o_created_at bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_length bigint := p_through;
  c record;
  r stack_runs;
  t task_runs;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  o_existing := false;
  o_ids := '{}';
  PERFORM pg_advisory_xact_lock(p_token);  -- as in submit_v1
  IF p_again THEN
    SELECT id, root_stack_run_id, created_at INTO o_run, o_root, o_created_at FROM task_runs
     WHERE id > p_floor AND token = p_token ORDER BY id LIMIT 1;
    IF FOUND THEN
      o_ids := rewound_ids(v_now, o_run);
      RETURN;
    END IF;
  END IF;
  SELECT * INTO r FROM stack_runs
   WHERE id = (SELECT x.root_stack_run_id FROM task_runs x WHERE x.id = p_source)
     FOR NO KEY UPDATE;
  SELECT * INTO t FROM task_runs WHERE id = p_source;
  IF t.id IS NULL THEN
    o_code := 'run_not_found';
    o_message := 'there is no task run ' || p_source;
    RETURN;
  END IF;
  o_message := rewind_refused(p_source, p_rewinds, t.rewinds, p_through, r.journal_length, p_calls,
                              r.call_count);
  IF o_message = '' AND p_outcome_seq > 0 AND NOT EXISTS (
       SELECT 1 FROM stack_runs WHERE task_run_id = p_source AND seq = p_outcome_seq
          AND seq BETWEEN 1 AND p_calls AND NOT delivered_as BETWEEN 1 AND p_through) THEN
    o_message := 'call ' || p_outcome_seq || ' does not wait for an outcome at that point';
  END IF;
  IF o_message <> '' THEN
    o_code := 'conflict';
    RETURN;
  END IF;
  IF p_calls > p_calls_max THEN
    o_code := 'payload_too_large';
    o_message := 'the fork would have ' || p_calls || ' calls at its beginning';
    RETURN;
  END IF;
  o_message := webhook_forks_refused(p_source, p_through, p_calls);
  IF o_message <> '' THEN
    o_code := 'conflict';
    RETURN;
  END IF;
  IF NOT EXISTS (SELECT 1 FROM task_functions WHERE id = p_function) THEN
    o_code := 'task_not_found';
    o_message := 'no task function has the id ' || p_function;
    RETURN;
  END IF;
  INSERT INTO task_runs (id, task_function_id, root_stack_run_id, token, created_at, updated_at,
                         priority, task_version, status, task_name, idempotency_key, request_hash,
                         queue_key, seed, tags, input, forked_from, forked_at)
  VALUES (nextval('task_run_ids'), p_function, nextval('stack_run_ids'), p_token, v_now, v_now,
          CASE WHEN p_has_priority THEN p_priority ELSE t.priority END, p_version, 'queued',
          t.task_name, or_null(p_key), or_null(p_hash), t.queue_key, t.seed,
          CASE WHEN p_has_tags THEN or_null(p_tags) ELSE t.tags END,
          CASE WHEN p_has_input THEN p_input ELSE t.input END, p_source, p_through)
  ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
  RETURNING id, root_stack_run_id, priority, tags, created_at INTO t.id, t.root_stack_run_id,
            t.priority, t.tags, o_created_at;
  IF NOT FOUND THEN  -- its key is known
    SELECT id, root_stack_run_id, created_at, request_hash INTO o_run, o_root, o_created_at,
           t.request_hash
      FROM task_runs WHERE idempotency_key = p_key;
    o_existing := true;
    IF o_run IS NULL THEN
      o_code := 'unavailable';
      o_message := 'another request with this idempotency key is under way: try again';
    ELSIF t.request_hash IS DISTINCT FROM or_null(p_hash) THEN
      o_code := 'idempotency_conflict';
      o_message := 'this idempotency key belongs to task run ' || o_run
                   || ', which was submitted with a different request';
    END IF;
    RETURN;
  END IF;
  o_run := t.id;
  o_root := t.root_stack_run_id;

  INSERT INTO stack_runs (id, task_run_id, seq, parent_stack_run_id, epoch, attempt, token,
      available_at, ready_at, lease_owner, slice, delivered_as, created_at, updated_at, started_at,
      ended_at, priority, delivery, source_line, via, hop_us, resume_kind, resume_us, status,
      service_name, method_name, options, args, result, error)
  SELECT nextval('stack_run_ids'), o_run, s.seq, o_root, CASE WHEN s.done THEN s.epoch ELSE 0 END,
         CASE WHEN s.done THEN s.attempt ELSE 0 END, p_token,
         CASE WHEN s.done THEN s.available_at ELSE v_now + coalesce(d.delay, 0) END,
         CASE WHEN NOT s.done THEN v_now + coalesce(d.delay, 0) END,
         CASE WHEN s.done THEN s.lease_owner END, s.slice,
         CASE WHEN s.done THEN s.delivered_as ELSE 0 END, s.created_at,
         CASE WHEN s.done THEN s.updated_at ELSE v_now END,
         CASE WHEN s.done THEN s.started_at END, CASE WHEN s.done THEN s.ended_at END, t.priority,
         s.delivery, s.source_line, CASE WHEN s.done THEN s.via END,
         CASE WHEN s.done THEN s.hop_us END, s.resume_kind, s.resume_us,
         CASE WHEN s.done THEN s.status ELSE 'pending' END, s.service_name, s.method_name,
         s.options, s.args, CASE WHEN s.done THEN s.result END, CASE WHEN s.done THEN s.error END
    FROM (SELECT *, delivered_as BETWEEN 1 AND p_through AS done FROM stack_runs
           WHERE task_run_id = p_source AND seq BETWEEN 1 AND p_calls ORDER BY seq) s
    LEFT JOIN unnest(p_seqs, p_delays) AS d (seq, delay) ON d.seq = s.seq;
  INSERT INTO task_logs (task_run_id, n, at, level, message, fields)
  SELECT o_run, n, at, level, message, fields FROM task_logs
   WHERE task_run_id = p_source AND n <= p_logs;
  IF p_outcome_seq > 0 THEN
    v_length := p_through + 1;
    UPDATE stack_runs SET status = CASE WHEN p_failed THEN 'failed' ELSE 'completed' END,
           result = CASE WHEN NOT p_failed THEN or_null(p_payload) END,
           error = CASE WHEN p_failed THEN or_null(p_payload) END, epoch = 1,
           delivered_as = v_length, ended_at = v_now, updated_at = v_now, ready_at = NULL
     WHERE task_run_id = o_run AND seq = p_outcome_seq;
  END IF;
  PERFORM fork_signals(v_now, p_source, o_run, p_outcome_seq);
  SELECT count(*) FILTER (WHERE ended_at IS NULL) AS open,
         min(seq) FILTER (WHERE ended_at IS NULL) AS first_open, coalesce(max(slice), 0) AS slice,
         (SELECT count(*) FROM task_logs WHERE task_run_id = o_run) AS logs
    INTO c FROM stack_runs WHERE task_run_id = o_run AND seq > 0;
  INSERT INTO stack_runs (id, task_run_id, seq, epoch, token, available_at, ready_at, slice,
                          delivered_as, created_at, updated_at, journal_length, delivered_through,
                          undelivered_seq, call_count, open_calls, open_seq, log_count,
                          task_function_id, priority, attempt, crashes, status, task_name)
  VALUES (o_root, o_run, 0, 0, p_token, v_now, v_now,
          CASE WHEN v_length = 0 THEN 0 ELSE c.slice END, 0, r.created_at, v_now, v_length, 0, 1,
          p_calls, c.open, coalesce(c.first_open, p_calls + 1), c.logs, p_function, t.priority, 0,
          0, 'pending', t.task_name);
  PERFORM run_submitted(v_now, o_run, coalesce(t.tags, ''));
  o_ids := rewound_ids(v_now, o_run);
END $$;

-- Runs are taken in the order of their ids, forks after what they are copies of: forks have no
-- parents, so nobody who holds one waits for an older run. A fork of one of them that is being made
-- holds that one, and is seen afterwards.
CREATE OR REPLACE FUNCTION answer_webhook_v1(p_now bigint, p_lock_ms integer, p_token bigint,
    p_again boolean, p_key bytea, p_payload bytea, p_node text, p_lease bigint)
RETURNS signal_answer LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_run bigint := 0;
  v_known boolean := false;
  h record;
  r record;
  s record;
  w wake_answer;
  o signal_answer;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  LOOP
    SELECT key, task_run_id INTO h FROM webhooks
     WHERE key >= p_key AND key < p_key || ';'::bytea
       AND (key = p_key OR substr(key, length(p_key) + 1, 1) = ':'::bytea) AND task_run_id > v_run
     ORDER BY task_run_id LIMIT 1;
    EXIT WHEN NOT FOUND;
    v_run := h.task_run_id;
    v_known := true;
    SELECT id, status, open_seq INTO r FROM stack_runs
     WHERE id = (SELECT t.root_stack_run_id FROM task_runs t WHERE t.id = v_run) FOR NO KEY UPDATE;
    SELECT * INTO h FROM webhooks WHERE key = h.key FOR UPDATE;
    IF p_again AND h.token = p_token THEN
      w := woken_before(v_now, p_token, r.id, p_node, p_lease);
      RETURN ('', NULL, w.woken, false, v_run, NULL, w.woken, w.root, w.epoch, w.attempt,
              w.lease_until, w.function, w.task_name)::signal_answer;
    END IF;
    CONTINUE WHEN h.key IS NULL OR r.id IS NULL OR r.status IN ('completed', 'failed', 'cancelled')
                  OR h.used_at IS NOT NULL OR h.expires_at <= v_now;
    UPDATE webhooks SET used_at = v_now, token = p_token, payload = p_payload WHERE key = h.key;
    -- Of several runs the first is handed over, the sweep finds the others.
    SELECT * INTO s FROM serve_signals(v_now, p_token, v_run, r.open_seq, h.name, 0, 0,
        CASE WHEN o.code IS NULL THEN p_node ELSE '' END,
        CASE WHEN o.code IS NULL THEN p_lease ELSE 0 END);
    IF o.code IS NULL THEN
      w := s.o_wake;
      o := ('', NULL, s.o_calls > 0, false, v_run, NULL, w.woken, w.root, w.epoch, w.attempt,
            w.lease_until, w.function, w.task_name)::signal_answer;
    END IF;
    o.delivered := o.delivered OR s.o_calls > 0;
  END LOOP;
  IF o.code IS NULL THEN
    o.code := CASE WHEN v_known THEN 'webhook_gone' ELSE 'not_found' END;
    o.message := CASE WHEN v_known THEN 'this address cannot be used any more'
                      ELSE 'there is no such webhook' END;
  END IF;
  RETURN o;
END $$;
