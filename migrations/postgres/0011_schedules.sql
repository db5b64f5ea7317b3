-- expand
-- Runs that begin by the clock (storage/schedules.h). `spec` is the server's; the rest says what
-- comes next and what came last. `due_at` is empty while paused. `token` and `done`: of the newest
-- change, for one that is sent again.
CREATE TABLE schedules (
  name            bytea PRIMARY KEY,
  revision        bigint NOT NULL,
  token           bigint NOT NULL,
  next_tick       bigint,
  due_at          bigint,
  last_tick       bigint,
  last_run        bigint,            -- may be gone meanwhile
  last_started_at bigint,
  last_skipped_at bigint,
  started         bigint NOT NULL,
  skipped         bigint NOT NULL,
  missed          bigint NOT NULL,
  created_at      bigint NOT NULL,
  updated_at      bigint NOT NULL,
  paused          boolean NOT NULL,
  overlap         text NOT NULL,     -- allow skip queue cancel
  done            text,              -- started skipped moved
  spec            bytea NOT NULL
);
CREATE INDEX schedules_due ON schedules (due_at) WHERE due_at IS NOT NULL;

-- p_revision: the one that is replaced; 0: there is none yet. p_next, p_due: 0 for none.
CREATE FUNCTION schedule_put_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_name bytea, p_spec bytea, p_overlap text, p_paused boolean, p_revision bigint,
    p_next bigint, p_due bigint, p_max bigint, OUT o_code text, OUT o_message text)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_count bigint;
  s schedules;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  -- Puts take turns: two may bring the same name, and both count.
  PERFORM pg_advisory_xact_lock(hashtext('sequential schedules'), hashtext(current_schema()));
  SELECT * INTO s FROM schedules WHERE name = p_name FOR NO KEY UPDATE;
  IF FOUND AND p_again AND s.token = p_token THEN RETURN; END IF;
  IF coalesce(s.revision, 0) <> p_revision THEN
    o_code := 'conflict';
    o_message := 'somebody else changed this schedule at the same moment';
    RETURN;
  END IF;
  IF p_revision = 0 THEN
    SELECT count(*) INTO v_count FROM schedules;
    IF v_count >= p_max THEN
      o_code := 'conflict';
      o_message := 'there are ' || v_count
                   || ' schedules, which is as many as schedules.max allows';
      RETURN;
    END IF;
    INSERT INTO schedules (name, revision, token, next_tick, due_at, started, skipped, missed,
                           created_at, updated_at, paused, overlap, spec)
    VALUES (p_name, 1, p_token, nullif(p_next, 0), nullif(p_due, 0), 0, 0, 0, v_now, v_now,
            p_paused, p_overlap, p_spec);
    RETURN;
  END IF;
  UPDATE schedules SET revision = p_revision + 1, token = p_token, next_tick = nullif(p_next, 0),
         due_at = nullif(p_due, 0), updated_at = v_now, paused = p_paused, overlap = p_overlap,
         spec = p_spec
   WHERE name = p_name;
END $$;

-- Starts a tick's run and moves the schedule on. p_expected: the schedule's next_tick, 0 for a run
-- beside the ticks. Locks the schedule, then only rows that it inserts; whether the last run is
-- over is read without a lock: it may end meanwhile, which the next look finds.
CREATE FUNCTION schedule_fire_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_name bytea, p_revision bigint, p_expected bigint, p_tick bigint, p_missed bigint,
    p_start boolean, p_next bigint, p_due bigint, p_overlap text,
    p_floor bigint, p_function bigint, p_task_name bytea, p_version integer, p_input bytea,
    p_key bytea, p_priority integer, p_queue_key bytea, p_tags bytea, p_seed bytea, p_node text,
    p_lease bigint,
    OUT o_code text, OUT o_message text, OUT o_done text, OUT o_previous bigint, OUT o_run bigint,
    OUT o_root bigint, OUT o_status text, OUT o_created_at bigint, OUT o_existing boolean,
    OUT o_lease_until bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  s schedules;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  SELECT * INTO s FROM schedules WHERE name = p_name FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    o_code := 'schedule_not_found';
    RETURN;
  END IF;
  IF p_again AND s.token = p_token THEN
    o_done := s.done;
    IF o_done = 'started' THEN
      SELECT t.id, t.root_stack_run_id, t.status, t.created_at, t.token <> p_token
        INTO o_run, o_root, o_status, o_created_at, o_existing
        FROM task_runs t WHERE t.id = s.last_run;
      UPDATE stack_runs SET lease_until = v_now + p_lease
       WHERE id = o_root AND p_node <> '' AND NOT o_existing AND epoch = 1
         AND status = 'processing'
      RETURNING lease_until INTO o_lease_until;
    END IF;
    RETURN;
  END IF;
  IF s.revision <> p_revision OR (p_expected <> 0 AND (s.next_tick IS DISTINCT FROM p_expected
                                  OR s.due_at IS NULL OR s.due_at > v_now)) THEN
    o_code := 'fenced';
    o_message := 'the schedule has gone on, or was changed';
    RETURN;
  END IF;
  IF NOT p_start THEN
    o_done := 'moved';
  ELSE
    IF p_overlap <> 'allow' THEN
      SELECT t.id INTO o_previous FROM task_runs t WHERE t.id = s.last_run AND t.ended_at IS NULL;
    END IF;
    IF o_previous IS NOT NULL THEN
      o_done := CASE WHEN p_overlap = 'skip' THEN 'skipped' ELSE 'blocked' END;
      IF o_done = 'blocked' OR p_expected = 0 THEN RETURN; END IF;
    ELSE
      SELECT x.o_code, x.o_message, x.o_run, x.o_root, x.o_status, x.o_created_at, x.o_existing,
             x.o_lease_until
        INTO o_code, o_message, o_run, o_root, o_status, o_created_at, o_existing, o_lease_until
        FROM submit_v1(p_now, p_lock_ms, p_token, false, p_floor, p_function, p_task_name,
                       p_version, p_input, p_key, ''::bytea, p_priority, p_queue_key, p_tags, 0,
                       0, p_seed, p_node, p_lease) x;
      IF o_code <> '' THEN RETURN; END IF;
      o_done := 'started';
    END IF;
  END IF;
  UPDATE schedules SET token = p_token, done = o_done, missed = missed + p_missed,
         next_tick = CASE WHEN p_expected <> 0 THEN nullif(p_next, 0) ELSE next_tick END,
         due_at = CASE WHEN p_expected <> 0 THEN nullif(p_due, 0) ELSE due_at END,
         last_tick = CASE WHEN p_expected <> 0 THEN p_tick ELSE last_tick END,
         last_run = coalesce(o_run, last_run),
         last_started_at = CASE WHEN o_done = 'started' THEN v_now ELSE last_started_at END,
         started = started + (o_done = 'started')::int,
         last_skipped_at = CASE WHEN o_done = 'skipped' THEN p_tick ELSE last_skipped_at END,
         skipped = skipped + (o_done = 'skipped')::int
   WHERE name = p_name;
END $$;

CREATE FUNCTION schedule_remove_v1(p_now bigint, p_lock_ms integer, p_name bytea,
    OUT o_removed boolean)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  DELETE FROM schedules WHERE name = p_name;
  o_removed := FOUND;
END $$;
