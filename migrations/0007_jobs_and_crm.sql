-- Work that outlives a request: taken with FOR UPDATE SKIP LOCKED.
create table jobs (
    id         bigint generated always as identity primary key,
    kind       text not null,                    -- 'webhook', 'mail', …
    payload    jsonb not null,
    run_at     timestamptz not null default now(),
    attempts   integer not null default 0,
    last_error text,
    finished_at timestamptz,
    failed_at  timestamptz,                      -- given up
    created_at timestamptz not null default now()
);
create index jobs_due on jobs (run_at) where finished_at is null and failed_at is null;

create table idempotency_keys (
    client_id    uuid not null references api_clients (id),
    key          text not null,
    request_hash bytea not null,
    status       smallint,
    headers      jsonb,
    body         bytea,
    created_at   timestamptz not null default now(),
    primary key (client_id, key)
);

create table webhooks (
    id         uuid primary key,
    client_id  uuid not null references api_clients (id),
    url        text not null,
    secret     text not null,                    -- 'whsec_…', shown once
    events     text[] not null,
    active     boolean not null default true,
    created_at timestamptz not null default now()
);
create table webhook_events (                     -- what happened, kept for replay
    id         uuid primary key,
    kind       text not null,                    -- 'message.created', 'application.decided', …
    payload    jsonb not null,
    created_at timestamptz not null default now()
);
create table webhook_deliveries (
    id         uuid primary key,
    webhook_id uuid not null references webhooks (id) on delete cascade,
    event_id   uuid not null references webhook_events (id),
    attempts   integer not null default 0,
    status     smallint,
    last_error text,
    delivered_at timestamptz,
    created_at timestamptz not null default now(),
    unique (webhook_id, event_id)
);
