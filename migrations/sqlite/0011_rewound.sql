-- expand
-- The root's epoch as of the newest retry or change of code: slices of epochs up to it are no longer
-- part of the run, and drop no calls of it.

ALTER TABLE task_runs ADD COLUMN rewound_epoch INTEGER NOT NULL DEFAULT 0;
