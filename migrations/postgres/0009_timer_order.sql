-- expand
-- Timers of one run that are due fire in the order in which they are due, whichever of them is
-- processed first.

-- Ends the timers that are due before this one, which is held under that epoch. Answers what they
-- woke.
CREATE FUNCTION end_earlier_timers(p_now bigint, p_token bigint, p_call bigint, p_epoch bigint,
    p_node text, p_lease bigint,
    OUT o_woken boolean, OUT o_epoch bigint, OUT o_attempt integer, OUT o_lease_until bigint)
LANGUAGE plpgsql AS $$
DECLARE
  c record;
  t record;
  e record;
  v_open_seq bigint;
BEGIN
  o_woken := false;
  SELECT seq, available_at, task_run_id, parent_stack_run_id, lease_owner INTO c FROM stack_runs
   WHERE id = p_call AND seq > 0 AND service_name = 'timer'::bytea;
  IF NOT FOUND THEN RETURN; END IF;
  SELECT open_seq INTO v_open_seq FROM stack_runs
   WHERE id = c.parent_stack_run_id AND ended_at IS NULL FOR NO KEY UPDATE;
  IF NOT FOUND THEN RETURN; END IF;
  PERFORM 1 FROM stack_runs
   WHERE id = p_call AND epoch = p_epoch AND status = 'processing' AND ended_at IS NULL;
  IF NOT FOUND THEN RETURN; END IF;
  FOR t IN
    SELECT id FROM stack_runs
     WHERE task_run_id = c.task_run_id AND seq >= v_open_seq AND seq > 0 AND ended_at IS NULL
       AND service_name = 'timer'::bytea AND status IN ('pending', 'processing')
       AND (available_at, seq) < (c.available_at, c.seq)
     ORDER BY available_at, seq
  LOOP
    -- Claimed by whoever ends it: a node that holds it is fenced.
    UPDATE stack_runs SET status = 'processing', epoch = epoch + 1, attempt = greatest(attempt, 1),
           token = p_token, lease_owner = c.lease_owner, lease_until = p_now,
           started_at = coalesce(started_at, p_now), ready_at = NULL
     WHERE id = t.id;
    SELECT x.o_woken AS woken, x.o_epoch AS epoch, x.o_attempt AS attempt,
           x.o_lease_until AS lease_until INTO e
      FROM end_call(p_now, p_token, false, t.id, 0, 0, false, 'null'::bytea, 1::smallint, -1,
                    p_node, p_lease) x;
    IF e.woken THEN
      o_woken := true;
      o_epoch := e.epoch;
      o_attempt := e.attempt;
      o_lease_until := e.lease_until;
    END IF;
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION record_outcome_v1(p_now bigint, p_lock_ms integer, p_token bigint,
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
  w record;  -- what earlier timers woke
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
    SELECT * INTO w FROM end_earlier_timers(v_now, p_token, p_call, p_epoch, p_node, p_lease);
    SELECT e.o_held, e.o_delivered_as, e.o_at, e.o_run, e.o_root, e.o_woken, e.o_epoch,
           e.o_attempt, e.o_lease_until, e.o_function, e.o_task_name
      INTO v_held, o.delivered_as, o.at, o.run, o.root, o.woken, o.epoch, o.attempt,
           o.lease_until, o.function, o.task_name
      FROM end_call(v_now, p_token, p_again, p_call, p_run, greatest(p_epoch, 1),
                    p_end = 'failed', p_payload, p_via, p_hop_us, p_node, p_lease) e;
    IF w.o_woken AND NOT o.woken THEN
      o.woken := true;
      o.epoch := w.o_epoch;
      o.attempt := w.o_attempt;
      o.lease_until := w.o_lease_until;
    END IF;
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
