-- expand
-- What runs are told from outside: signals and webhooks (migrations/sqlite/0006_signals.sql, and
-- storage/include/sequential/storage/signals.h). All of a run's rows here are read and written
-- under the lock of its root, so their order is that of the commits.

CREATE SEQUENCE signal_ids;

-- taken_seq: the call that got it. token: of the transition that sent it (README.md: unknown commits).
CREATE TABLE signals (
  task_run_id  bigint NOT NULL,
  id           bigint NOT NULL,
  token        bigint NOT NULL,
  taken_seq    bigint,
  at           bigint NOT NULL,
  name         bytea NOT NULL,
  key          bytea,
  request_hash bytea,
  payload      bytea,
  PRIMARY KEY (task_run_id, id)
);
CREATE INDEX signals_kept ON signals (task_run_id, name, id) WHERE taken_seq IS NULL;
CREATE UNIQUE INDEX signals_token ON signals (task_run_id, token);
CREATE UNIQUE INDEX signals_key ON signals (task_run_id, key) WHERE key IS NOT NULL;

CREATE TABLE signal_waits (
  task_run_id  bigint NOT NULL,
  seq          bigint NOT NULL,
  stack_run_id bigint NOT NULL,
  name         bytea NOT NULL,
  PRIMARY KEY (task_run_id, name, seq)
);

CREATE TABLE webhooks (
  key         bytea PRIMARY KEY,
  task_run_id bigint NOT NULL,
  expires_at  bigint NOT NULL,
  used_at     bigint,
  token       bigint,  -- of the transition that used it
  name        bytea NOT NULL,
  rules       bytea NOT NULL,
  payload     bytea
);
CREATE INDEX webhooks_run ON webhooks (task_run_id, name);

CREATE TYPE wake_answer AS (
  woken boolean, root bigint, epoch bigint, attempt integer, lease_until bigint, function bigint,
  task_name bytea
);

-- What a transition with this token did to the root, told again.
CREATE FUNCTION woken_before(p_now bigint, p_token bigint, p_root bigint, p_node text,
    p_lease bigint)
RETURNS wake_answer LANGUAGE plpgsql AS $$
DECLARE
  r record;
  w wake_answer;
BEGIN
  SELECT id, status, token, lease_owner, epoch, attempt, task_function_id, task_name INTO r
    FROM stack_runs WHERE id = p_root;
  w.root := r.id;
  w.function := r.task_function_id;
  w.task_name := r.task_name;
  w.woken := r.status = 'pending';
  IF r.token = p_token AND r.status = 'processing' AND r.lease_owner = p_node THEN
    w.woken := true;
    w.epoch := r.epoch;
    w.attempt := r.attempt;
    w.lease_until := p_now + p_lease;
    UPDATE stack_runs SET lease_until = w.lease_until WHERE id = p_root;
  END IF;
  RETURN w;
END $$;

-- Gives the oldest signals of the name to the oldest calls that wait, for as long as there are both.
-- The caller holds the root. p_own: a call that its own claim of p_epoch asks for, or 0. A call
-- before which another one will wait for the name, but has not come to it yet, lets that one go
-- first: it looks again soon, should nobody wake it. The answer of a webhook is for every call that
-- waits for it.
CREATE FUNCTION serve_signals(p_now bigint, p_token bigint, p_run bigint, p_open_seq bigint,
    p_name bytea, p_own bigint, p_epoch bigint, p_node text, p_lease bigint,
    OUT o_own boolean, OUT o_payload bytea, OUT o_delivered_as bigint, OUT o_at bigint,
    OUT o_blocked boolean, OUT o_calls integer, OUT o_wake wake_answer)
LANGUAGE plpgsql AS $$
DECLARE
  v_hook boolean := substr(p_name, 1, 8) = 'webhook:'::bytea;
  v_begins bytea := '["'::bytea || p_name || '"'::bytea;
  s record;
  w record;
  e record;
BEGIN
  o_own := false;
  o_blocked := false;
  o_calls := 0;
  o_wake.woken := false;
  LOOP
    IF v_hook THEN
      SELECT 0 AS id, payload INTO s FROM webhooks
       WHERE task_run_id = p_run AND name = p_name AND used_at IS NOT NULL;
    ELSE
      SELECT id, payload INTO s FROM signals
       WHERE task_run_id = p_run AND name = p_name AND taken_seq IS NULL ORDER BY id LIMIT 1;
    END IF;
    EXIT WHEN NOT FOUND;
    SELECT x.seq, x.stack_run_id INTO w
      FROM signal_waits x JOIN stack_runs c ON c.id = x.stack_run_id
     WHERE x.task_run_id = p_run AND x.name = p_name AND c.ended_at IS NULL
     ORDER BY x.seq LIMIT 1;
    EXIT WHEN NOT FOUND;
    PERFORM 1 FROM stack_runs c
     WHERE NOT v_hook AND c.task_run_id = p_run AND c.seq >= p_open_seq AND c.seq < w.seq
       AND c.seq > 0
       AND c.ended_at IS NULL AND c.service_name = 'signal'::bytea
       AND c.method_name = 'wait'::bytea AND substr(c.args, 1, length(v_begins)) = v_begins
       AND NOT EXISTS (SELECT 1 FROM signal_waits x WHERE x.task_run_id = p_run
                          AND x.name = p_name AND x.seq = c.seq)
     LIMIT 1;
    IF FOUND THEN
      o_blocked := w.stack_run_id = p_own;
      IF NOT o_blocked THEN
        UPDATE stack_runs SET available_at = p_now + 1000,
               ready_at = CASE WHEN ready_at IS NOT NULL THEN p_now + 1000 END
         WHERE id = w.stack_run_id AND status IN ('pending', 'paused')
           AND available_at > p_now + 1000;
      END IF;
      EXIT;
    END IF;
    IF NOT v_hook THEN
      UPDATE signals SET taken_seq = w.seq, payload = NULL
       WHERE task_run_id = p_run AND id = s.id;
    END IF;
    o_calls := o_calls + 1;
    DELETE FROM signal_waits WHERE task_run_id = p_run AND name = p_name AND seq = w.seq;
    SELECT * INTO e FROM end_call(p_now, p_token, false, w.stack_run_id, p_run,
        CASE WHEN w.stack_run_id = p_own THEN p_epoch ELSE 0 END, false, s.payload,
        -1::smallint, -1, p_node, p_lease);
    IF w.stack_run_id = p_own THEN
      o_own := true;
      o_payload := s.payload;
      o_delivered_as := e.o_delivered_as;
      o_at := e.o_at;
    END IF;
    IF e.o_woken THEN
      o_wake := (true, e.o_root, e.o_epoch, e.o_attempt, e.o_lease_until, e.o_function,
                 e.o_task_name)::wake_answer;
    END IF;
  END LOOP;
END $$;

-- p_timeout: ms since the call was made; p_until: a time; -1: none. o_state: taken, failed, waits.
CREATE FUNCTION take_signal_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_call bigint, p_run bigint, p_epoch bigint, p_name bytea, p_timeout bigint, p_until bigint,
    p_timeout_error bytea, p_over_error bytea, p_node text, p_lease bigint,
    OUT o_code text, OUT o_message text, OUT o_state text, OUT o_payload bytea,
    OUT o_delivered_as bigint, OUT o_at bigint, OUT o_due_in bigint, OUT o_woken boolean,
    OUT o_root bigint, OUT o_epoch bigint, OUT o_attempt integer, OUT o_lease_until bigint,
    OUT o_function bigint, OUT o_task_name bytea)
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  k_never constant bigint := 7258118400000;  -- the year 2200
  v_now bigint := now_ms(p_now);
  v_over boolean;
  v_own boolean := false;
  v_blocked boolean := false;
  v_deadline bigint;
  r record;
  c record;
  s record;
  e record;
  w wake_answer;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o_code := '';
  o_woken := false;
  w.woken := false;
  SELECT id, task_run_id, status, open_seq, run_paused INTO r FROM stack_runs
   WHERE id = (SELECT x.parent_stack_run_id FROM stack_runs x WHERE x.id = p_call AND x.seq > 0)
     FOR NO KEY UPDATE;
  SELECT * INTO c FROM stack_runs WHERE id = p_call FOR NO KEY UPDATE;
  IF p_again AND c.token = p_token AND r.task_run_id = p_run AND c.status <> 'processing' THEN
    w := woken_before(v_now, p_token, r.id, p_node, p_lease);
    o_state := CASE c.status WHEN 'completed' THEN 'taken' WHEN 'failed' THEN 'failed'
                    ELSE 'waits' END;
    o_payload := coalesce(c.result, c.error);
    o_delivered_as := c.delivered_as;
    o_at := c.ended_at;
    o_due_in := CASE WHEN o_state = 'waits' AND c.available_at < k_never
                     THEN greatest(c.available_at - v_now, 0) END;
  ELSIF r.id IS NULL OR r.task_run_id <> p_run OR c.status <> 'processing'
        OR c.epoch <> p_epoch THEN
    o_code := 'fenced';
    o_message := 'the call is not held under this claim';
    RETURN;
  ELSE
    v_over := r.status IN ('completed', 'failed', 'cancelled');
    v_deadline := least(CASE WHEN p_timeout >= 0 THEN c.created_at + p_timeout END,
                        CASE WHEN p_until >= 0 THEN p_until END, k_never);
    IF NOT v_over THEN
      INSERT INTO signal_waits (task_run_id, seq, stack_run_id, name)
      VALUES (p_run, c.seq, p_call, p_name) ON CONFLICT DO NOTHING;
      SELECT * INTO s FROM serve_signals(v_now, p_token, p_run, r.open_seq, p_name, p_call,
                                         p_epoch, p_node, p_lease);
      w := s.o_wake;
      v_own := s.o_own;
      v_blocked := s.o_blocked;
    END IF;
    IF v_own THEN
      o_state := 'taken';
      o_payload := s.o_payload;
      o_delivered_as := s.o_delivered_as;
      o_at := s.o_at;
    ELSIF v_over OR v_deadline <= v_now THEN
      o_state := 'failed';
      o_payload := CASE WHEN v_over THEN p_over_error ELSE p_timeout_error END;
      DELETE FROM signal_waits WHERE task_run_id = p_run AND name = p_name AND seq = c.seq;
      SELECT * INTO e FROM end_call(v_now, p_token, false, p_call, p_run, p_epoch, true,
                                    o_payload, -1::smallint, -1, p_node, p_lease);
      o_delivered_as := e.o_delivered_as;
      o_at := e.o_at;
      IF e.o_woken THEN
        w := (true, e.o_root, e.o_epoch, e.o_attempt, e.o_lease_until, e.o_function,
              e.o_task_name)::wake_answer;
      END IF;
      IF NOT v_over THEN  -- calls behind this one may have waited for it to go
        SELECT * INTO s FROM serve_signals(v_now, p_token, p_run, r.open_seq, p_name, 0, 0,
                                           p_node, p_lease);
        IF (s.o_wake).woken THEN w := s.o_wake; END IF;
      END IF;
    ELSE
      o_state := 'waits';
      IF v_blocked THEN v_deadline := least(v_deadline, v_now + 1000); END IF;
      UPDATE stack_runs SET status = CASE WHEN r.run_paused THEN 'paused' ELSE 'pending' END,
             attempt = attempt - 1, available_at = v_deadline, updated_at = v_now,
             token = p_token, watch_at = NULL,
             ready_at = CASE WHEN NOT r.run_paused THEN v_deadline END
       WHERE id = p_call;
      o_due_in := CASE WHEN v_deadline < k_never THEN v_deadline - v_now END;
    END IF;
  END IF;
  o_woken := w.woken;
  o_root := w.root;
  o_epoch := w.epoch;
  o_attempt := w.attempt;
  o_lease_until := w.lease_until;
  o_function := w.function;
  o_task_name := w.task_name;
END $$;

CREATE TYPE signal_answer AS (
  code text, message text, delivered boolean, existing boolean, run bigint, call bigint,
  woken boolean, root bigint, epoch bigint, attempt integer, lease_until bigint, function bigint,
  task_name bytea
);

-- Stores a signal and gives what can be given. The caller holds the root.
CREATE FUNCTION store_signal(p_now bigint, p_token bigint, p_run bigint, p_open_seq bigint,
    p_name bytea, p_payload bytea, p_key bytea, p_hash bytea, p_node text, p_lease bigint)
RETURNS signal_answer LANGUAGE plpgsql AS $$
DECLARE
  v_id bigint := nextval('signal_ids');
  s record;
  o signal_answer;
BEGIN
  INSERT INTO signals (task_run_id, id, token, at, name, key, request_hash, payload)
  VALUES (p_run, v_id, p_token, p_now, p_name, or_null(p_key), or_null(p_hash), p_payload);
  SELECT * INTO s FROM serve_signals(p_now, p_token, p_run, p_open_seq, p_name, 0, 0, p_node,
                                     p_lease);
  SELECT '', NULL, x.taken_seq IS NOT NULL, false, p_run, c.id, (s.o_wake).*
    INTO o.code, o.message, o.delivered, o.existing, o.run, o.call, o.woken, o.root, o.epoch,
         o.attempt, o.lease_until, o.function, o.task_name
    FROM signals x LEFT JOIN stack_runs c ON c.task_run_id = p_run AND c.seq = x.taken_seq
   WHERE x.task_run_id = p_run AND x.id = v_id;
  RETURN o;
END $$;

CREATE FUNCTION send_signal_v1(p_now bigint, p_lock_ms integer, p_token bigint, p_again boolean,
    p_run bigint, p_name bytea, p_payload bytea, p_key bytea, p_hash bytea, p_kept_max bigint,
    p_node text, p_lease bigint)
RETURNS signal_answer LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  r record;
  x record;
  w wake_answer;
  o signal_answer;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o.code := '';
  o.delivered := false;
  o.existing := false;
  o.woken := false;
  o.run := p_run;
  SELECT id, status, open_seq INTO r FROM stack_runs
   WHERE id = (SELECT t.root_stack_run_id FROM task_runs t WHERE t.id = p_run) FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    o.code := 'run_not_found';
    o.message := 'there is no task run ' || p_run;
    RETURN o;
  END IF;
  IF p_again THEN
    SELECT s.taken_seq, c.id AS call, c.token INTO x FROM signals s
      LEFT JOIN stack_runs c ON c.task_run_id = p_run AND c.seq = s.taken_seq
     WHERE s.task_run_id = p_run AND s.token = p_token;
    IF FOUND THEN
      o.delivered := coalesce(x.token = p_token, false);
      IF o.delivered THEN
        w := woken_before(v_now, p_token, r.id, p_node, p_lease);
        RETURN ('', NULL, true, false, p_run, x.call, w.woken, w.root, w.epoch, w.attempt,
                w.lease_until, w.function, w.task_name)::signal_answer;
      END IF;
      RETURN o;
    END IF;
  END IF;
  IF p_key <> '' THEN
    SELECT taken_seq, request_hash INTO x FROM signals WHERE task_run_id = p_run AND key = p_key;
    IF FOUND THEN
      IF x.request_hash IS DISTINCT FROM or_null(p_hash) THEN
        o.code := 'idempotency_conflict';
        o.message := 'this idempotency key belongs to another signal of the run';
      END IF;
      o.existing := true;
      o.delivered := x.taken_seq IS NOT NULL;
      RETURN o;
    END IF;
  END IF;
  IF r.status IN ('completed', 'failed', 'cancelled') THEN
    o.code := 'conflict';
    o.message := 'task run ' || p_run || ' is ' || r.status || ': it takes no more signals';
    RETURN o;
  END IF;
  PERFORM 1 FROM signal_waits y JOIN stack_runs c ON c.id = y.stack_run_id
   WHERE y.task_run_id = p_run AND y.name = p_name AND c.ended_at IS NULL;
  IF NOT FOUND AND (SELECT count(*) FROM (SELECT 1 FROM signals WHERE task_run_id = p_run
                       AND taken_seq IS NULL LIMIT p_kept_max) k) >= p_kept_max THEN
    o.code := 'signals_limit';
    o.message := 'task run ' || p_run || ' keeps ' || p_kept_max
                 || ' signals that it has not taken (limits.signals_kept)';
    RETURN o;
  END IF;
  RETURN store_signal(v_now, p_token, p_run, r.open_seq, p_name, p_payload, p_key, p_hash, p_node,
                      p_lease);
END $$;

CREATE FUNCTION create_webhook_v1(p_now bigint, p_lock_ms integer, p_token bigint,
    p_again boolean, p_call bigint, p_run bigint, p_epoch bigint, p_key bytea, p_name bytea,
    p_expires bigint, p_rules bytea, p_outcome bytea, p_node text, p_lease bigint)
RETURNS outcome_answer LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  v_held boolean;
  o outcome_answer;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o.code := '';
  SELECT e.o_held, e.o_delivered_as, e.o_at, e.o_run, e.o_root, e.o_woken, e.o_epoch, e.o_attempt,
         e.o_lease_until, e.o_function, e.o_task_name
    INTO v_held, o.delivered_as, o.at, o.run, o.root, o.woken, o.epoch, o.attempt, o.lease_until,
         o.function, o.task_name
    FROM end_call(v_now, p_token, p_again, p_call, p_run, greatest(p_epoch, 1), false, p_outcome,
                  -1::smallint, -1, p_node, p_lease) e;
  IF NOT v_held THEN
    o.code := 'fenced';
    o.message := 'the call is not held under this claim';
    RETURN o;
  END IF;
  INSERT INTO webhooks (key, task_run_id, expires_at, name, rules)
  VALUES (p_key, p_run, o.at + p_expires, p_name, p_rules) ON CONFLICT DO NOTHING;
  RETURN o;
END $$;

CREATE FUNCTION answer_webhook_v1(p_now bigint, p_lock_ms integer, p_token bigint,
    p_again boolean, p_key bytea, p_payload bytea, p_node text, p_lease bigint)
RETURNS signal_answer LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  v_now bigint := now_ms(p_now);
  h record;
  r record;
  s record;
  w wake_answer;
  o signal_answer;
BEGIN
  IF p_lock_ms > 0 THEN PERFORM set_config('lock_timeout', p_lock_ms::text, true); END IF;
  o.code := '';
  SELECT task_run_id INTO h FROM webhooks WHERE key = p_key;
  IF NOT FOUND THEN
    o.code := 'not_found';
    o.message := 'there is no such webhook';
    RETURN o;
  END IF;
  SELECT id, status, open_seq INTO r FROM stack_runs
   WHERE id = (SELECT t.root_stack_run_id FROM task_runs t WHERE t.id = h.task_run_id)
     FOR NO KEY UPDATE;
  SELECT * INTO h FROM webhooks WHERE key = p_key FOR UPDATE;
  IF p_again AND h.token = p_token THEN
    w := woken_before(v_now, p_token, r.id, p_node, p_lease);
    RETURN ('', NULL, w.woken, false, h.task_run_id, NULL, w.woken, w.root, w.epoch, w.attempt,
            w.lease_until, w.function, w.task_name)::signal_answer;
  END IF;
  IF r.id IS NULL OR r.status IN ('completed', 'failed', 'cancelled') OR h.used_at IS NOT NULL
     OR h.expires_at <= v_now THEN
    o.code := 'webhook_gone';
    o.message := 'this address cannot be used any more';
    RETURN o;
  END IF;
  UPDATE webhooks SET used_at = v_now, token = p_token, payload = p_payload WHERE key = p_key;
  SELECT * INTO s FROM serve_signals(v_now, p_token, h.task_run_id, r.open_seq, h.name, 0, 0,
                                     p_node, p_lease);
  w := s.o_wake;
  RETURN ('', NULL, s.o_calls > 0, false, h.task_run_id, NULL, w.woken, w.root, w.epoch,
          w.attempt, w.lease_until, w.function, w.task_name)::signal_answer;
END $$;
