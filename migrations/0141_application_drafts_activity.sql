-- Time spent on the form, counted from answer to answer; pauses of more than half an hour do not count.
alter table application_drafts
    add column active_seconds integer not null default 0 check (active_seconds >= 0),
    add column keep boolean not null default false;   -- asked to be remembered on this device
