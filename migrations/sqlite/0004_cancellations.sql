-- expand
-- Runs that were asked to end. The request is an entry of the run's journal: its position is
-- delivered_as of the root stack run, its time and its error are here. `deadline`: when the run is
-- cancelled if it has not ended by then; NULL once there is nothing more to do about it.
CREATE TABLE cancellations (
  task_run_id INTEGER PRIMARY KEY,
  at          INTEGER NOT NULL,
  deadline    INTEGER,
  error       TEXT NOT NULL
);
CREATE INDEX cancellations_deadline ON cancellations (deadline) WHERE deadline IS NOT NULL;
