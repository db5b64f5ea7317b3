-- expand
-- What runs are found by beside their own columns, and their removal. Every table that holds rows
-- of a run has a column task_run_id, with an index that begins with it: so removing runs and `clear`
-- find them by themselves (run_tables).

CREATE TABLE run_tags (
  task_run_id bigint NOT NULL,
  kind        smallint NOT NULL,  -- 0: a tag, given at submit; 1: an attribute, set by the task
  key         bytea NOT NULL,
  value       bytea NOT NULL,
  number      double precision,
  PRIMARY KEY (task_run_id, kind, key, value)
);
CREATE INDEX run_tags_value ON run_tags (kind, key, value, task_run_id);

-- Runs that a call of another run started and waits for.
CREATE TABLE run_children (
  task_run_id bigint PRIMARY KEY,
  parent_run  bigint NOT NULL
);
CREATE INDEX run_children_parent ON run_children (parent_run, task_run_id);

CREATE TABLE task_retention (
  task         bytea PRIMARY KEY,
  completed_ms bigint NOT NULL,  -- -1: as the task's options or the settings say; 0: for ever
  failed_ms    bigint NOT NULL,
  updated_at   bigint NOT NULL
);

-- Removed runs that somebody may still look for as proof that the database has not gone back
-- (storage/src/postgres/history.h). Kept as long as marks are.
CREATE TABLE removed_runs (
  id         bigint PRIMARY KEY,
  removed_at bigint NOT NULL
);
CREATE INDEX removed_runs_at ON removed_runs (removed_at);

-- The members of a JSON object, or the texts of a list, in which "k:v" is k with the value v. Nothing
-- of what is not JSON, or cannot be a text of this database: that is only not found.
-- Neither is what is too long for an index.
CREATE FUNCTION tags_in(p_json bytea)
RETURNS TABLE (key bytea, value bytea, number double precision, gone boolean)
LANGUAGE plpgsql AS $$
DECLARE
  v json;
BEGIN
  v := convert_from(p_json, 'UTF8')::json;
  IF json_typeof(v) = 'array' THEN
    RETURN QUERY SELECT DISTINCT convert_to(split_part(e.t, ':', 1), 'UTF8'),
           convert_to(CASE WHEN position(':' IN e.t) > 0
                           THEN substr(e.t, position(':' IN e.t) + 1) ELSE '' END, 'UTF8'),
           NULL::double precision, false
      FROM json_array_elements_text(v) AS e (t) WHERE e.t IS NOT NULL;
  ELSIF json_typeof(v) = 'object' THEN
    RETURN QUERY SELECT convert_to(e.k, 'UTF8'),
           coalesce(convert_to(e.j #>> '{}', 'UTF8'), ''::bytea),
           CASE WHEN json_typeof(e.j) = 'number' THEN (e.j #>> '{}')::double precision END,
           json_typeof(e.j) = 'null'
      FROM json_each(v) AS e (k, j);
  END IF;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  RETURN;
END $$;

-- Bytes as lower-case text, A-Z only; never fails.
CREATE FUNCTION searchable(p_bytes bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN lower(convert_from(p_bytes, 'UTF8') COLLATE "C");
EXCEPTION WHEN data_exception THEN
  RETURN lower(encode(p_bytes, 'escape') COLLATE "C");
END $$;

-- Name, code and message of an error.
CREATE FUNCTION error_words(p_error bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  v json;
BEGIN
  v := convert_from(p_error, 'UTF8')::json;
  RETURN lower(concat_ws(' ', v ->> 'name', v ->> 'code', v ->> 'message') COLLATE "C");
EXCEPTION WHEN data_exception THEN
  RETURN lower(encode(p_error, 'escape') COLLATE "C");
END $$;

CREATE FUNCTION fits_an_index(p_key bytea, p_value bytea) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
  SELECT octet_length(p_key) BETWEEN 1 AND 256 AND octet_length(p_value) <= 1024
$$;

CREATE OR REPLACE FUNCTION run_submitted(p_now bigint, p_run bigint, p_tags bytea)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  -- Tags
  IF p_tags <> '' THEN
    INSERT INTO run_tags (task_run_id, kind, key, value, number)
    SELECT p_run, 0, t.key, t.value, t.number FROM tags_in(p_tags) t WHERE NOT t.gone AND fits_an_index(t.key, t.value)
    ON CONFLICT DO NOTHING;
  END IF;
  -- Whose child it is
  INSERT INTO run_children (task_run_id, parent_run)
  SELECT t.id, p.task_run_id FROM task_runs t JOIN stack_runs p ON p.id = t.parent_stack_run_id
   WHERE t.id = p_run;
END $$;

-- A run has 100 attributes at most; task code is told so earlier, at a lower limit.
CREATE FUNCTION set_attribute(p_run bigint, p_key bytea, p_value bytea, p_number double precision,
    p_gone boolean)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF p_gone THEN
    DELETE FROM run_tags WHERE task_run_id = p_run AND kind = 1 AND key = p_key;
    RETURN;
  END IF;
  UPDATE run_tags SET value = p_value, number = p_number
   WHERE task_run_id = p_run AND kind = 1 AND key = p_key;
  IF FOUND THEN RETURN; END IF;
  INSERT INTO run_tags (task_run_id, kind, key, value, number)
  SELECT p_run, 1, p_key, p_value, p_number
   WHERE (SELECT count(*) FROM run_tags WHERE task_run_id = p_run AND kind = 1) < 100;
END $$;

CREATE OR REPLACE FUNCTION logs_stored(p_run bigint, p_at bigint, p_before bigint, p_levels bytea[],
    p_messages bytea[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  e record;
BEGIN
  -- Attributes
  IF 'attributes'::bytea = ANY (p_levels) THEN
    FOR e IN SELECT t.key, t.value, t.number, t.gone
               FROM unnest(p_levels, p_messages) WITH ORDINALITY AS u (level, message, n)
               CROSS JOIN LATERAL tags_in(u.message) t
              WHERE u.level = 'attributes'::bytea AND fits_an_index(t.key, t.value)
              ORDER BY u.n LOOP
      PERFORM set_attribute(p_run, e.key, e.value, e.number, e.gone);
    END LOOP;
  END IF;
END $$;

-- The tables with rows of runs, but for task_runs, stack_runs and attempts, quoted.
CREATE FUNCTION run_tables() RETURNS text[] LANGUAGE sql STABLE AS $$
  SELECT coalesce(array_agg(quote_ident(c.relname) ORDER BY c.relname), '{}')
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'task_run_id'
                                       AND NOT a.attisdropped
   WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
     AND c.relname NOT IN ('task_runs', 'stack_runs')
$$;

-- Removes a run that ended before p_before, after those that it has started. The root is locked
-- first, so whoever writes to the run has written or finds nothing: fenced. Only for the topmost is
-- a lock waited for, and then none is held; so no circle of waiting can form.
CREATE FUNCTION remove_tree(p_now bigint, p_run bigint, p_before bigint, p_wait boolean,
    p_budget bigint, p_tables text[], OUT o_runs bigint, OUT o_rows bigint, OUT o_whole boolean)
LANGUAGE plpgsql AS $$
DECLARE
  v_root bigint;
  v_count bigint;
  v_newest bigint;
  v_table text;
  t record;
  c record;
  x record;
BEGIN
  o_runs := 0;
  o_rows := 0;
  o_whole := false;
  SELECT root_stack_run_id INTO v_root FROM task_runs WHERE id = p_run;
  IF p_wait THEN
    PERFORM 1 FROM stack_runs WHERE id = v_root FOR UPDATE;
  ELSE
    PERFORM 1 FROM stack_runs WHERE id = v_root FOR UPDATE SKIP LOCKED;
  END IF;
  IF NOT FOUND THEN RETURN; END IF;
  SELECT ended_at, updated_at INTO t FROM task_runs WHERE id = p_run;
  IF t.ended_at IS NULL OR t.ended_at >= p_before THEN RETURN; END IF;
  PERFORM 1 FROM run_children k JOIN task_runs r ON r.id = k.task_run_id
    WHERE k.parent_run = p_run AND r.ended_at IS NULL LIMIT 1;
  IF FOUND THEN RETURN; END IF;
  FOR c IN SELECT k.task_run_id FROM run_children k WHERE k.parent_run = p_run
            ORDER BY k.task_run_id LIMIT p_budget LOOP
    IF o_runs >= p_budget THEN RETURN; END IF;
    SELECT r.o_runs, r.o_rows, r.o_whole INTO x
      FROM remove_tree(p_now, c.task_run_id, 9223372036854775807, false, p_budget - o_runs,
                       p_tables) r;
    o_runs := o_runs + x.o_runs;
    o_rows := o_rows + x.o_rows;
    IF NOT x.o_whole THEN RETURN; END IF;
  END LOOP;
  IF o_runs >= p_budget THEN RETURN; END IF;

  DELETE FROM attempts WHERE stack_run_id IN (SELECT id FROM stack_runs WHERE task_run_id = p_run);
  WITH gone AS (DELETE FROM stack_runs WHERE task_run_id = p_run RETURNING updated_at)
  SELECT count(*), max(updated_at) INTO v_count, v_newest FROM gone;
  o_rows := o_rows + v_count + 1;
  FOREACH v_table IN ARRAY p_tables LOOP
    EXECUTE 'DELETE FROM ' || v_table || ' WHERE task_run_id = $1' USING p_run;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    o_rows := o_rows + v_count;
  END LOOP;
  DELETE FROM child_tasks WHERE child_run = p_run;
  DELETE FROM child_cancels WHERE child_run = p_run;
  DELETE FROM task_runs WHERE id = p_run;
  IF greatest(v_newest, t.updated_at) > p_now - 604800000 THEN
    INSERT INTO removed_runs (id, removed_at) VALUES (p_run, p_now) ON CONFLICT DO NOTHING;
  END IF;
  o_runs := o_runs + 1;
  o_whole := true;
END $$;

-- 0002 explains the shared parameters. Sent again it finds nothing left to do.
CREATE FUNCTION remove_runs_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_before bigint, p_budget bigint, p_runs bigint[],
    OUT o_code text, OUT o_message text, OUT o_runs bigint, OUT o_rows bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_tables text[] := run_tables();
  v_run bigint;
  x record;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  o_runs := 0;
  o_rows := 0;
  FOREACH v_run IN ARRAY p_runs LOOP
    EXIT WHEN o_runs >= p_budget;
    SELECT r.o_runs, r.o_rows INTO x
      FROM remove_tree(v_now, v_run, p_before, cardinality(p_runs) = 1, p_budget - o_runs,
                       v_tables) r;
    o_runs := o_runs + x.o_runs;
    o_rows := o_rows + x.o_rows;
  END LOOP;
  DELETE FROM removed_runs WHERE id IN (
    SELECT id FROM removed_runs WHERE removed_at < v_now - 604800000 ORDER BY removed_at
     LIMIT 1000 FOR UPDATE SKIP LOCKED);
END $$;
