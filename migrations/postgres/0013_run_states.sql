-- expand
-- What runs show of themselves (setStatus, progress): one row for each run that ever did, rewritten
-- by its slices. Rows of a run that is gone belong to nobody: no run gets its number.

CREATE TABLE run_states (
  task_run_id bigint PRIMARY KEY,
  version     bigint NOT NULL,  -- counts the changes
  updated_at  bigint NOT NULL,
  progress    bytea,            -- {"done", "total"?, "message"?}
  status      bytea
) WITH (fillfactor = 70);

-- commit_slice_v1 of a slice that set a status or a progress ('' is none), in one transaction. It is
-- called by its name, so that whoever replaces it changes this, too. What is as it was is left alone:
-- a replay sets the recorded ones again.
CREATE FUNCTION commit_slice_shown_v1(p_now bigint, p_lock_ms integer, p_token bigint,
    p_again boolean, p_lazy boolean, p_root bigint, p_run bigint, p_epoch bigint,
    p_delivered bigint, p_end text, p_payload bytea, p_reason bytea, p_resume_kind smallint,
    p_resume_us bigint, p_node text, p_lease bigint, p_claims_max integer, p_ids bigint[],
    p_seqs bigint[], p_services bytea[], p_methods bytea[], p_args bytea[], p_options bytea[],
    p_deliveries smallint[], p_delays bigint[], p_lines integer[], p_log_levels bytea[],
    p_log_messages bytea[], p_log_fields bytea[], p_status bytea, p_progress bytea)
RETURNS slice_answer
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  o slice_answer;
  v_at bigint;
BEGIN
  o := commit_slice_v1(p_now, p_lock_ms, p_token, p_again, p_lazy, p_root, p_run, p_epoch,
      p_delivered, p_end, p_payload, p_reason, p_resume_kind, p_resume_us, p_node, p_lease,
      p_claims_max, p_ids, p_seqs, p_services, p_methods, p_args, p_options, p_deliveries,
      p_delays, p_lines, p_log_levels, p_log_messages, p_log_fields);
  IF o.code <> '' OR p_end = 'paused' THEN RETURN o; END IF;
  -- Sent again although it had been committed, and gone on from: a newer slice may have set others.
  SELECT updated_at INTO v_at FROM stack_runs WHERE id = p_root AND token = p_token;
  IF NOT FOUND THEN RETURN o; END IF;
  INSERT INTO run_states AS s (task_run_id, version, updated_at, progress, status)
  VALUES (p_run, 1, v_at, or_null(p_progress), or_null(p_status))
  ON CONFLICT (task_run_id) DO UPDATE
     SET version = s.version + 1, updated_at = excluded.updated_at,
         progress = coalesce(excluded.progress, s.progress),
         status = coalesce(excluded.status, s.status)
   WHERE coalesce(excluded.progress, s.progress) IS DISTINCT FROM s.progress
      OR coalesce(excluded.status, s.status) IS DISTINCT FROM s.status;
  RETURN o;
END $$;
