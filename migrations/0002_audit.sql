-- The append-only, hash-chained log. hash = SHA-256(previous_hash || canonical entry); see app/src/audit/chain.rs.
create table audit_entries (
    number        bigint primary key check (number > 0),
    at            timestamptz not null,
    actor_kind    text not null check (actor_kind in ('person', 'client', 'customer', 'system')),
    actor_id      text not null,
    actor_name    text not null,
    action        text not null,                -- 'decision.made', 'session.started', 'policy.activated', …
    subject_kind  text not null,
    subject_id    text not null,
    details       text not null,                -- canonical JSON, exactly as hashed
    previous_hash bytea not null check (length(previous_hash) = 32),
    hash          bytea not null unique check (length(hash) = 32)
);
create index audit_subject on audit_entries (subject_kind, subject_id, number);
create index audit_action on audit_entries (action, number);
create index audit_actor on audit_entries (actor_id, number);

-- One row: the end of the chain. Locked by whoever appends, so that numbers have no gaps.
create table audit_head (
    only_row boolean primary key default true check (only_row),
    number   bigint not null,
    hash     bytea not null
);
insert into audit_head (number, hash) values (0, decode(repeat('00', 32), 'hex'));

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'integrity_constraint_violation';
end $$;
create trigger audit_entries_append_only before update or delete on audit_entries
    for each row execute function refuse_change();
create trigger audit_entries_no_truncate before truncate on audit_entries
    for each statement execute function refuse_change();
