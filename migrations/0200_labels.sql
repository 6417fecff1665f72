-- What became known of an application after it was scored, with the time at which the bank knew it. Training reads it.
create table labels (
    id             uuid primary key,
    application_id uuid not null references applications (id),
    kind           text not null check (kind in ('confirmed_fraud', 'valuable_alert', 'false_alarm',
                                                 'repaid', 'in_arrears', 'written_off')),
    note           text not null default '',
    known_at       timestamptz not null,
    person_id      uuid references people (id),
    client_id      uuid references api_clients (id),
    created_at     timestamptz not null default now(),
    constraint labels_somebody_said_it check ((person_id is null) <> (client_id is null)),
    constraint labels_known_by_now check (known_at <= created_at + interval '5 minutes')
);
create index labels_application on labels (application_id, known_at desc);
create index labels_known on labels (known_at);
create trigger labels_append_only before update or delete on labels for each row execute function refuse_change();
