-- expand
-- Looking for work while something holds an old snapshot (a long transaction, a backup, a
-- replication slot): rows that were ready or watched since, and are no longer, cannot be vacuumed,
-- and their entries stay in the two indexes that find work. Whoever reads those from the start
-- reads past all of them: measured, 0.2 ms become 70 ms after 25,000 calls.
--
-- So a look that found much to read past notes how far it had to read, and those that follow begin
-- there, for a time that grows with what there was, ten seconds at most; then a sweep (due) reads
-- it all once more. Work that is given back or resumed is ready from that moment on, not
-- from when it first was; what is given an earlier time is found by that full look, and by its
-- own hint as ever. Where nothing holds a snapshot there is
-- nothing to read past, and each look is a full one.
--
-- The notes are sequences because those have no versions: nothing is left behind by writing them.
-- They are not read like tables, which without sequential scans would count as costly.
CREATE SEQUENCE look_watch_from MINVALUE -1 START -1;  -- no row is watched at this time or before
CREATE SEQUENCE look_ready_from MINVALUE -1 START -1;  -- none is ready
CREATE SEQUENCE look_full_again MINVALUE 0 START 0;    -- when to look from the start again

CREATE FUNCTION server_ms() RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT floor(date_part('epoch', clock_timestamp()) * 1000)::bigint
$$;

-- Where to begin, -1 at the start. p_patience: how much longer than until a full look is due the
-- caller goes by the notes. Notes that reach further than any can were made by another clock (the
-- server's was set back, or it is another server).
CREATE FUNCTION look_from(p_patience bigint, OUT o_watch bigint, OUT o_ready bigint)
LANGUAGE plpgsql AS $$
DECLARE
  v_ahead bigint := pg_sequence_last_value('look_full_again') - server_ms();
BEGIN
  o_watch := -1;
  o_ready := -1;
  IF v_ahead > -p_patience AND v_ahead <= 10000 THEN
    o_watch := coalesce(pg_sequence_last_value('look_watch_from'), -1);
    o_ready := coalesce(pg_sequence_last_value('look_ready_from'), -1);
  END IF;
END $$;

-- Notes how far there is nothing to find after p_watch and p_ready. Transitions under way are given
-- half a second: what they make ready has the time of their beginning. What that half second leaves
-- is read past by every look (2,000 calls/s leave 4,000 pages, 2.5 ms); a slower transition's work is
-- found by its hint, or by the next full look.
CREATE FUNCTION set_look_marks(p_now bigint, p_watch bigint, p_ready bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_first bigint;
  v_below bigint := 2147483647;
  v_next record;
BEGIN
  SELECT watch_at INTO v_first FROM stack_runs WHERE watch_at > p_watch ORDER BY watch_at LIMIT 1;
  PERFORM setval('look_watch_from', greatest(least(v_first - 1, p_now - 500), p_watch));
  v_first := NULL;
  LOOP
    SELECT * INTO v_next FROM next_priority(v_below, p_ready);
    EXIT WHEN v_next.o_priority IS NULL;
    v_first := least(v_first, v_next.o_ready_at);
    v_below := v_next.o_priority::bigint - 1;
  END LOOP;
  PERFORM setval('look_ready_from', greatest(least(v_first - 1, p_now - 500), p_ready));
END $$;

-- How many pages of the table this session has asked for since its statistics were last sent, which
-- is never within a transaction. Every entry read past is one.
CREATE FUNCTION pages_read() RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT pg_stat_get_xact_blocks_fetched('stack_runs'::regclass)
$$;

-- After a full look, before which p_before pages had been read. Work that was found is read too, so
-- what there is to read past is what noting it reads. Ten pages take about 0.05 ms: a millisecond for
-- each ten keeps full looks below a tenth of one processor.
CREATE FUNCTION note_look(p_before bigint, p_now bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_between bigint := pages_read();
  v_pages bigint;
BEGIN
  IF v_between - p_before < 300 THEN RETURN; END IF;
  PERFORM set_look_marks(p_now, -1, -1);
  v_pages := pages_read() - v_between;
  IF v_pages < 300 THEN RETURN; END IF;
  PERFORM setval('look_full_again', server_ms() + least(v_pages / 10, 10000));
END $$;

-- The highest priority up to p_below that has something ready, and its first. Nearly all work has
-- priority 0, so that one is asked for by itself: an index can begin at a time within one priority.
CREATE FUNCTION next_priority(p_below bigint, p_from bigint,
    OUT o_priority integer, OUT o_ready_at bigint)
LANGUAGE plpgsql AS $$
BEGIN
  IF p_below > 0 THEN
    SELECT priority, ready_at INTO o_priority, o_ready_at FROM stack_runs
     WHERE ready_at IS NOT NULL AND ready_at > p_from AND priority > 0 AND priority <= p_below
     ORDER BY priority DESC, ready_at, id LIMIT 1;
    IF FOUND THEN RETURN; END IF;
  END IF;
  IF p_below >= 0 THEN
    SELECT priority, ready_at INTO o_priority, o_ready_at FROM stack_runs
     WHERE ready_at IS NOT NULL AND ready_at > p_from AND priority = 0
     ORDER BY ready_at, id LIMIT 1;
    IF FOUND THEN RETURN; END IF;
  END IF;
  SELECT priority, ready_at INTO o_priority, o_ready_at FROM stack_runs
   WHERE ready_at IS NOT NULL AND ready_at > p_from AND priority < 0 AND priority <= p_below
   ORDER BY priority DESC, ready_at, id LIMIT 1;
END $$;

-- As reap (0002), of rows watched after p_from. Answers the earliest time that it gave to work that
-- it made ready, which may be before the mark: then that is moved back.
CREATE FUNCTION reap_from(p_now bigint, p_limit integer, p_from bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  v_earliest bigint;
  v_made bigint;
  s record;
  v_next bigint;
  v_ended boolean;
BEGIN
  FOR s IN SELECT id, task_run_id, seq, parent_stack_run_id, status, available_at, lease_until,
                  ready_at, open_calls, open_seq, run_paused
             FROM stack_runs WHERE watch_at > p_from AND watch_at <= p_now
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
         ORDER BY seq FOR UPDATE SKIP LOCKED),
      u AS (
        UPDATE stack_runs x SET ready_at = x.available_at, watch_at = NULL FROM c
         WHERE x.id = c.id RETURNING x.ready_at)
      SELECT min(ready_at) INTO v_made FROM u;
      v_earliest := least(v_earliest, v_made);
      SELECT least(v_next, min(lease_until)) INTO v_next FROM stack_runs
       WHERE task_run_id = s.task_run_id AND seq >= s.open_seq AND status = 'processing'
         AND ready_at IS NULL AND watch_at IS NULL AND seq > 0;
    END IF;
    IF s.run_paused THEN v_next := NULL; END IF;
    UPDATE stack_runs SET watch_at = v_next,
           ready_at = CASE WHEN v_ended AND NOT s.run_paused THEN s.available_at
                           ELSE s.ready_at END
     WHERE id = s.id;
    IF v_ended AND NOT s.run_paused THEN v_earliest := least(v_earliest, s.available_at); END IF;
  END LOOP;
  IF v_earliest <= pg_sequence_last_value('look_ready_from') THEN
    PERFORM setval('look_ready_from', greatest(v_earliest - 1, -1));
  END IF;
  RETURN v_earliest;
END $$;

-- As in 0002, but for where it begins. Full looks are left to the sweeps, unless none comes.
CREATE OR REPLACE FUNCTION claim_next_v1(p_now bigint, p_lock_ms integer, p_token bigint,
    p_again boolean, p_node text, p_lease bigint,
    OUT o_id bigint, OUT o_run bigint, OUT o_epoch bigint, OUT o_seq bigint,
    OUT o_lease_until bigint, OUT o_function bigint, OUT o_task_name bytea,
    OUT o_service bytea, OUT o_method bytea, OUT o_args bytea, OUT o_options bytea,
    OUT o_delivery smallint, OUT o_attempt integer, OUT o_unknown boolean)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_before bigint := pages_read();
  v_now bigint := now_ms(p_now);
  v_below bigint := 2147483647;
  v_first record;
  v_from record;
  v_ready_from bigint;
  v_id bigint;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  PERFORM pg_advisory_xact_lock(p_token);  -- as in submit_v1
  IF p_again THEN
    SELECT * INTO o_id, o_run, o_epoch, o_seq, o_lease_until, o_function, o_task_name, o_service,
           o_method, o_args, o_options, o_delivery, o_attempt, o_unknown
      FROM claimed_before(0, v_now, p_node, p_lease, p_token);
    IF o_id IS NOT NULL THEN RETURN; END IF;
  END IF;
  SELECT * INTO v_from FROM look_from(10000);
  v_ready_from := least(v_from.o_ready, reap_from(v_now, 500, v_from.o_watch) - 1);
  FOR i IN 1 .. 1000 LOOP
    SELECT o_priority AS priority, o_ready_at AS ready_at INTO v_first
      FROM next_priority(v_below, v_ready_from);
    EXIT WHEN v_first.priority IS NULL;
    v_id := NULL;
    IF v_first.ready_at <= v_now THEN
      WITH c AS MATERIALIZED (
        SELECT id FROM stack_runs
         WHERE ready_at IS NOT NULL AND priority = v_first.priority AND ready_at > v_ready_from
           AND ready_at <= v_now
         ORDER BY ready_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
      SELECT id INTO v_id FROM c;
    END IF;
    IF v_id IS NULL THEN  -- timers yet to come, or all of them being taken by others
      v_below := v_first.priority::bigint - 1;
      CONTINUE;
    END IF;
    IF i = 1 AND v_from.o_ready < 0 THEN PERFORM note_look(v_before, v_now); END IF;
    SELECT * INTO o_id, o_run, o_epoch, o_seq, o_lease_until, o_function, o_task_name, o_service,
           o_method, o_args, o_options, o_delivery, o_attempt, o_unknown
      FROM claim_locked(v_id, v_now, p_node, p_lease, p_token);
    IF o_id IS NOT NULL THEN RETURN; END IF;
    -- Its holder has renewed the lease since, or the run was paused.
    UPDATE stack_runs SET ready_at = NULL, watch_at = earlier(watch_at, lease_until)
     WHERE id = v_id;
  END LOOP;
  IF v_from.o_ready < 0 THEN PERFORM note_look(v_before, v_now); END IF;
END $$;

-- As in 0002, but for where it begins.
CREATE OR REPLACE FUNCTION due_v1(p_now bigint, p_limit integer,
    OUT o_now bigint, OUT o_next bigint, OUT o_ids bigint[], OUT o_watch bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_before bigint := pages_read();
  v_from record;
  v_ready_from bigint;
  v_below bigint := 2147483647;
  v_priority integer;
  v_found bigint[];
  v_ats bigint[];
  v_all_ids bigint[] := '{}';
  v_all_ats bigint[] := '{}';
  v_later bigint;
BEGIN
  o_now := now_ms(p_now);
  SELECT * INTO v_from FROM look_from(0);
  v_ready_from := least(v_from.o_ready,
                        reap_from(o_now, greatest(p_limit, 500), v_from.o_watch) - 1);
  LOOP  -- one round per distinct priority in use
    SELECT o_priority INTO v_priority FROM next_priority(v_below, v_ready_from);
    EXIT WHEN v_priority IS NULL;
    SELECT array_agg(id), array_agg(ready_at) INTO v_found, v_ats FROM (
      SELECT id, ready_at FROM stack_runs
       WHERE ready_at IS NOT NULL AND priority = v_priority AND ready_at > v_ready_from
         AND ready_at <= o_now
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
  IF v_from.o_ready < 0 THEN
    PERFORM note_look(v_before, o_now);
  ELSE
    PERFORM set_look_marks(o_now, v_from.o_watch, v_ready_from);
  END IF;
END $$;
