-- When the chain was last read from end to end, and what was found. Facts about the log, not part of it.
create table audit_verifications (
    id            bigint generated always as identity primary key,
    at            timestamptz not null default now(),
    entries       bigint not null,
    head          bytea not null,
    broken_number bigint,                        -- the first broken entry
    broken_why    text,
    took_ms       bigint not null,
    check ((broken_number is null) = (broken_why is null))
);
create index audit_entries_at on audit_entries (at);
