-- Who works on what, and until when: reap, claim, claim_next, extend, release, due.
--
-- Parameters that many functions share:
--   p_now      0: the server's clock decides; else the time (tests)
--   p_lock_ms  0: the session's lock_timeout holds; else it is set for this transaction (poolers
--              in transaction mode lose session settings)
--   p_token    random number of this transition, stored in the row it fences
--   p_again    the transition was sent before and its fate is unknown: if the row shows its token,
--              answer again what it did; leases it gave are renewed, because time has passed
--   p_node     '' = no handoff
-- Functions answer o_code: '' or the error's code, and o_message. An error has changed nothing.

CREATE FUNCTION now_ms(p_now bigint) RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT CASE WHEN p_now > 0 THEN p_now
              ELSE floor(date_part('epoch', clock_timestamp()) * 1000)::bigint END
$$;

-- NULL for an empty string, as the SQLite store keeps it.
CREATE FUNCTION or_null(p_value bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT nullif(p_value, ''::bytea)
$$;

CREATE FUNCTION earlier(p_known bigint, p_new bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT least(coalesce(p_known, p_new), p_new)
$$;

-- Looks at rows whose watch_at has come: a lease that has ended makes its row ready to be claimed;
-- else watch_at moves on. Changes no status, epoch or lease: claiming is what takes work over.
CREATE FUNCTION reap(p_now bigint, p_limit integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  s record;
  v_next bigint;
  v_ended boolean;
BEGIN
  FOR s IN SELECT id, task_run_id, seq, parent_stack_run_id, status, available_at, lease_until,
                  ready_at, open_calls, open_seq, run_paused
             FROM stack_runs WHERE watch_at <= p_now
            ORDER BY watch_at LIMIT p_limit FOR UPDATE SKIP LOCKED LOOP
    v_next := NULL;
    v_ended := s.status = 'processing' AND s.lease_until <= p_now;
    IF s.status = 'processing' AND NOT v_ended THEN v_next := s.lease_until; END IF;
    IF s.seq > 0 THEN
      -- A paused run's leases are looked at again by its resume.
      SELECT r.run_paused INTO s.run_paused FROM stack_runs r WHERE r.id = s.parent_stack_run_id;
    ELSIF s.open_calls > 0 AND NOT s.run_paused THEN
      WITH c AS MATERIALIZED (
        SELECT id FROM stack_runs
         WHERE task_run_id = s.task_run_id AND seq >= s.open_seq AND status = 'processing'
           AND ready_at IS NULL AND lease_until <= p_now AND seq > 0
         ORDER BY seq FOR UPDATE SKIP LOCKED)
      UPDATE stack_runs x SET ready_at = x.available_at, watch_at = NULL FROM c WHERE x.id = c.id;
      SELECT least(v_next, min(lease_until)) INTO v_next FROM stack_runs
       WHERE task_run_id = s.task_run_id AND seq >= s.open_seq AND status = 'processing'
         AND ready_at IS NULL AND watch_at IS NULL AND seq > 0;
    END IF;
    IF s.run_paused THEN v_next := NULL; END IF;
    UPDATE stack_runs SET watch_at = v_next,
           ready_at = CASE WHEN v_ended AND NOT s.run_paused THEN s.available_at
                           ELSE s.ready_at END
     WHERE id = s.id;
  END LOOP;
END $$;

-- Takes the row if it may be claimed; the caller holds its lock. o_id NULL: it may not.
CREATE FUNCTION claim_locked(p_id bigint, p_now bigint, p_node text, p_lease bigint,
    p_token bigint,
    OUT o_id bigint, OUT o_run bigint, OUT o_epoch bigint, OUT o_seq bigint,
    OUT o_lease_until bigint, OUT o_function bigint, OUT o_task_name bytea,
    OUT o_service bytea, OUT o_method bytea, OUT o_args bytea, OUT o_options bytea,
    OUT o_delivery smallint, OUT o_attempt integer, OUT o_unknown boolean)
LANGUAGE plpgsql AS $$
DECLARE
  s stack_runs;
  v_paused boolean;
BEGIN
  SELECT * INTO s FROM stack_runs WHERE id = p_id;
  IF NOT FOUND OR NOT ((s.status = 'pending' AND s.available_at <= p_now)
                       OR (s.status = 'processing' AND s.lease_until <= p_now)) THEN
    RETURN;
  END IF;
  o_function := s.task_function_id;
  o_task_name := s.task_name;
  v_paused := s.run_paused;
  IF s.seq > 0 THEN
    SELECT r.run_paused, r.task_function_id, r.task_name INTO v_paused, o_function, o_task_name
      FROM stack_runs r WHERE r.id = s.parent_stack_run_id;
  END IF;
  IF v_paused THEN RETURN; END IF;

  o_attempt := s.attempt + 1;
  o_unknown := s.outcome_unknown;
  IF s.status = 'processing' THEN  -- its holder vanished in the middle of a try
    INSERT INTO attempts (stack_run_id, epoch, attempt, token, node, started_at, ended_at, outcome)
    VALUES (p_id, s.epoch, s.attempt, p_token, s.lease_owner, s.started_at, p_now, 'lost');
    o_unknown := o_unknown OR (s.seq > 0 AND s.delivery = 1);
  END IF;
  IF o_unknown THEN o_attempt := s.attempt; END IF;  -- there will be no other try
  o_lease_until := p_now + p_lease;
  UPDATE stack_runs SET status = 'processing', epoch = epoch + 1, attempt = o_attempt,
         outcome_unknown = o_unknown, lease_owner = p_node, lease_until = o_lease_until,
         started_at = p_now, updated_at = p_now, token = p_token, ready_at = NULL,
         watch_at = earlier(watch_at, o_lease_until)
   WHERE id = p_id;
  IF s.seq = 0 AND s.started_at IS NULL THEN
    UPDATE task_runs SET status = 'running', started_at = p_now, updated_at = p_now
     WHERE id = s.task_run_id AND status = 'queued';
  END IF;
  o_id := p_id;
  o_run := s.task_run_id;
  o_epoch := s.epoch + 1;
  o_seq := s.seq;
  o_service := s.service_name;
  o_method := s.method_name;
  o_args := s.args;
  o_options := s.options;
  o_delivery := s.delivery;
END $$;

-- A claim sent again: the row it took, if it took one and still holds it, with a fresh lease.
CREATE FUNCTION claimed_before(p_id bigint, p_now bigint, p_node text, p_lease bigint,
    p_token bigint,
    OUT o_id bigint, OUT o_run bigint, OUT o_epoch bigint, OUT o_seq bigint,
    OUT o_lease_until bigint, OUT o_function bigint, OUT o_task_name bytea,
    OUT o_service bytea, OUT o_method bytea, OUT o_args bytea, OUT o_options bytea,
    OUT o_delivery smallint, OUT o_attempt integer, OUT o_unknown boolean)
LANGUAGE plpgsql AS $$
DECLARE
  s stack_runs;
BEGIN
  IF p_id > 0 THEN
    SELECT * INTO s FROM stack_runs
     WHERE id = p_id AND token = p_token AND status = 'processing' AND lease_owner = p_node
       FOR UPDATE;
  ELSE  -- what was claimed is watched, or has expired since
    SELECT * INTO s FROM stack_runs
     WHERE (watch_at IS NOT NULL OR ready_at IS NOT NULL) AND token = p_token
       AND status = 'processing' AND lease_owner = p_node
     LIMIT 1 FOR UPDATE;
  END IF;
  IF NOT FOUND THEN RETURN; END IF;
  o_lease_until := p_now + p_lease;
  UPDATE stack_runs SET lease_until = o_lease_until, ready_at = NULL,
         watch_at = earlier(watch_at, o_lease_until)
   WHERE id = s.id;
  SELECT r.task_function_id, r.task_name INTO o_function, o_task_name FROM stack_runs r
   WHERE r.id = CASE WHEN s.seq = 0 THEN s.id ELSE s.parent_stack_run_id END;
  o_id := s.id;
  o_run := s.task_run_id;
  o_epoch := s.epoch;
  o_seq := s.seq;
  o_service := s.service_name;
  o_method := s.method_name;
  o_args := s.args;
  o_options := s.options;
  o_delivery := s.delivery;
  o_attempt := s.attempt;
  o_unknown := s.outcome_unknown;
END $$;

CREATE FUNCTION claim_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_id bigint, p_node text, p_lease bigint,
    OUT o_id bigint, OUT o_run bigint, OUT o_epoch bigint, OUT o_seq bigint,
    OUT o_lease_until bigint, OUT o_function bigint, OUT o_task_name bytea,
    OUT o_service bytea, OUT o_method bytea, OUT o_args bytea, OUT o_options bytea,
    OUT o_delivery smallint, OUT o_attempt integer, OUT o_unknown boolean)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  -- First of all: a try whose connection broke may still be at work on the server.
  PERFORM 1 FROM stack_runs WHERE id = p_id FOR UPDATE;
  IF NOT FOUND THEN RETURN; END IF;
  IF p_again THEN
    SELECT * INTO o_id, o_run, o_epoch, o_seq, o_lease_until, o_function, o_task_name, o_service,
           o_method, o_args, o_options, o_delivery, o_attempt, o_unknown
      FROM claimed_before(p_id, v_now, p_node, p_lease, p_token);
    IF o_id IS NOT NULL THEN RETURN; END IF;
  END IF;
  SELECT * INTO o_id, o_run, o_epoch, o_seq, o_lease_until, o_function, o_task_name, o_service,
         o_method, o_args, o_options, o_delivery, o_attempt, o_unknown
    FROM claim_locked(p_id, v_now, p_node, p_lease, p_token);
END $$;

-- The highest-priority, longest-due row that nobody is locking. One index seek per distinct
-- priority in use, so that timers yet to come are not walked over.
CREATE FUNCTION claim_next_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_node text, p_lease bigint,
    OUT o_id bigint, OUT o_run bigint, OUT o_epoch bigint, OUT o_seq bigint,
    OUT o_lease_until bigint, OUT o_function bigint, OUT o_task_name bytea,
    OUT o_service bytea, OUT o_method bytea, OUT o_args bytea, OUT o_options bytea,
    OUT o_delivery smallint, OUT o_attempt integer, OUT o_unknown boolean)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_below bigint := 2147483647;
  v_first record;
  v_id bigint;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  IF p_again THEN
    SELECT * INTO o_id, o_run, o_epoch, o_seq, o_lease_until, o_function, o_task_name, o_service,
           o_method, o_args, o_options, o_delivery, o_attempt, o_unknown
      FROM claimed_before(0, v_now, p_node, p_lease, p_token);
    IF o_id IS NOT NULL THEN RETURN; END IF;
  END IF;
  PERFORM reap(v_now, 500);
  FOR i IN 1 .. 1000 LOOP
    SELECT priority, ready_at INTO v_first FROM stack_runs
     WHERE ready_at IS NOT NULL AND priority <= v_below
     ORDER BY priority DESC, ready_at, id LIMIT 1;
    EXIT WHEN NOT FOUND;
    v_id := NULL;
    IF v_first.ready_at <= v_now THEN
      WITH c AS MATERIALIZED (
        SELECT id FROM stack_runs
         WHERE ready_at IS NOT NULL AND priority = v_first.priority AND ready_at <= v_now
         ORDER BY ready_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
      SELECT id INTO v_id FROM c;
    END IF;
    IF v_id IS NULL THEN  -- timers yet to come, or all of them being taken by others
      v_below := v_first.priority::bigint - 1;
      CONTINUE;
    END IF;
    SELECT * INTO o_id, o_run, o_epoch, o_seq, o_lease_until, o_function, o_task_name, o_service,
           o_method, o_args, o_options, o_delivery, o_attempt, o_unknown
      FROM claim_locked(v_id, v_now, p_node, p_lease, p_token);
    IF o_id IS NOT NULL THEN RETURN; END IF;
    -- Its holder has renewed the lease since, or the run was paused.
    UPDATE stack_runs SET ready_at = NULL, watch_at = earlier(watch_at, lease_until)
     WHERE id = v_id;
  END LOOP;
END $$;

-- Renews the leases that still hold. Locked rows are skipped unless p_wait (then one at a time, so
-- that it never waits while it holds another lock). o_skipped: to be asked for again.
CREATE FUNCTION extend_v1(p_now bigint, p_lock_ms integer, p_wait boolean, p_ids bigint[],
    p_epochs bigint[], p_node text, p_lease bigint, OUT o_fenced bigint[], OUT o_skipped bigint[])
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_until bigint := v_now + p_lease;
  v_locked bigint[] := '{}';
  v_held bigint[] := '{}';
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  IF p_wait THEN
    SELECT array_agg(id) INTO v_locked FROM
      (SELECT id FROM stack_runs WHERE id = p_ids[1] FOR UPDATE) x;
  ELSE
    SELECT array_agg(id) INTO v_locked FROM
      (SELECT id FROM stack_runs WHERE id = ANY (p_ids) ORDER BY id FOR UPDATE SKIP LOCKED) x;
  END IF;
  WITH g AS (SELECT * FROM unnest(p_ids, p_epochs) AS g (id, epoch)),
  u AS (
    UPDATE stack_runs s
       SET lease_until = v_until, lease_owner = p_node, updated_at = v_now, ready_at = NULL,
           watch_at = CASE WHEN s.ready_at IS NULL AND s.lease_until <= v_until
                           THEN s.watch_at ELSE earlier(s.watch_at, v_until) END
      FROM g WHERE s.id = g.id AND s.epoch = g.epoch AND s.status = 'processing'
       AND s.id = ANY (v_locked)
    RETURNING s.id)
  SELECT array_agg(id) INTO v_held FROM u;
  SELECT coalesce(array_agg(g.id) FILTER (WHERE g.id = ANY (v_locked) OR s.id IS NULL
                                             OR s.epoch <> g.epoch), '{}'),
         coalesce(array_agg(g.id) FILTER (WHERE NOT (g.id = ANY (coalesce(v_locked, '{}')))
                                            AND s.id IS NOT NULL AND s.epoch = g.epoch), '{}')
    INTO o_fenced, o_skipped
    FROM unnest(p_ids, p_epochs) AS g (id, epoch) LEFT JOIN stack_runs s ON s.id = g.id
   WHERE NOT (g.id = ANY (coalesce(v_held, '{}')));
END $$;

CREATE FUNCTION release_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_id bigint, p_epoch bigint, OUT o_code text, OUT o_message text)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  s record;
  v_paused boolean;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  -- The root is locked first, so that no pause comes in between.
  SELECT r.run_paused INTO v_paused FROM stack_runs r
   WHERE r.id = (SELECT CASE WHEN x.seq = 0 THEN x.id ELSE x.parent_stack_run_id END
                   FROM stack_runs x WHERE x.id = p_id)
     FOR NO KEY UPDATE;
  SELECT id, status, epoch, attempt, lease_owner, started_at, available_at, outcome_unknown
    INTO s FROM stack_runs WHERE id = p_id FOR NO KEY UPDATE;
  o_code := '';
  IF s.id IS NULL OR s.status <> 'processing' OR s.epoch <> p_epoch THEN
    IF p_again AND EXISTS (SELECT 1 FROM attempts
                            WHERE stack_run_id = p_id AND epoch = p_epoch AND token = p_token) THEN
      RETURN;
    END IF;
    o_code := 'fenced';
    o_message := 'the stack run is not held under this claim';
    RETURN;
  END IF;
  INSERT INTO attempts (stack_run_id, epoch, attempt, token, node, started_at, ended_at, outcome)
  VALUES (p_id, s.epoch, s.attempt, p_token, s.lease_owner, s.started_at, v_now, 'released');
  -- A call that must not be tried again keeps the number of its last try.
  UPDATE stack_runs SET status = CASE WHEN v_paused THEN 'paused' ELSE 'pending' END,
         attempt = CASE WHEN s.outcome_unknown THEN s.attempt ELSE s.attempt - 1 END,
         -- Not before now: looks for work are past that.
         ready_at = CASE WHEN v_paused THEN NULL ELSE greatest(s.available_at, v_now) END,
         token = p_token,
         watch_at = CASE WHEN seq > 0 THEN NULL ELSE watch_at END, updated_at = v_now
   WHERE id = p_id;
END $$;

-- What is runnable or abandoned, oldest first, and when to look again.
CREATE FUNCTION due_v1(p_now bigint, p_limit integer,
    OUT o_now bigint, OUT o_next bigint, OUT o_ids bigint[], OUT o_watch bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_below bigint := 2147483647;
  v_priority integer;
  v_found bigint[];
  v_ats bigint[];
  v_all_ids bigint[] := '{}';
  v_all_ats bigint[] := '{}';
  v_later bigint;
BEGIN
  o_now := now_ms(p_now);
  PERFORM reap(o_now, greatest(p_limit, 500));
  LOOP  -- one round per distinct priority in use
    SELECT priority INTO v_priority FROM stack_runs
     WHERE ready_at IS NOT NULL AND priority <= v_below
     ORDER BY priority DESC, ready_at, id LIMIT 1;
    EXIT WHEN NOT FOUND;
    SELECT array_agg(id), array_agg(ready_at) INTO v_found, v_ats FROM (
      SELECT id, ready_at FROM stack_runs
       WHERE ready_at IS NOT NULL AND priority = v_priority AND ready_at <= o_now
         AND (status = 'pending' OR (status = 'processing' AND lease_until <= o_now))
       ORDER BY ready_at, id LIMIT p_limit) x;
    v_all_ids := v_all_ids || v_found;
    v_all_ats := v_all_ats || v_ats;
    SELECT ready_at INTO v_later FROM stack_runs
     WHERE ready_at IS NOT NULL AND priority = v_priority AND ready_at > o_now
     ORDER BY ready_at LIMIT 1;
    o_next := least(o_next, v_later);
    v_below := v_priority::bigint - 1;
  END LOOP;
  -- A lease ends then, or was renewed: looked at now, no node waits for its next pass.
  SELECT watch_at INTO o_watch FROM stack_runs WHERE watch_at > o_now ORDER BY watch_at LIMIT 1;
  SELECT coalesce(array_agg(id ORDER BY at, id), '{}') INTO o_ids FROM (
    SELECT id, at FROM unnest(v_all_ids, v_all_ats) AS u (id, at) ORDER BY at, id LIMIT p_limit) x;
END $$;
