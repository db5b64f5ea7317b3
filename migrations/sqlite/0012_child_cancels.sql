-- expand
-- Children of a run that was asked to end are asked, too: until when they may go on. 0: they are
-- cancelled at once.
ALTER TABLE child_cancels ADD COLUMN deadline INTEGER NOT NULL DEFAULT 0;
