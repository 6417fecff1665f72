-- The bank's own people, their sessions, and the machines that speak for a CRM.
create table people (
    id            uuid primary key,
    email         text not null,
    name          text not null check (length(name) between 1 and 120),
    role          text not null check (role in ('agent', 'officer', 'senior_officer', 'auditor', 'manager')),
    password_hash text not null,
    active        boolean not null default true,
    created_at    timestamptz not null default now()
);
create unique index people_email_unique on people (lower(email));

create table sessions (
    id         uuid primary key,
    person_id  uuid not null references people (id),
    token_hash bytea not null unique,           -- SHA-256 of the cookie; the cookie itself is never stored
    user_agent text not null default '',
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz
);
create index sessions_person on sessions (person_id);

create table api_clients (
    id          uuid primary key,
    client_id   text not null unique,
    name        text not null check (length(name) between 1 and 120),
    secret_hash text not null,
    scopes      text[] not null,
    active      boolean not null default true,
    created_by  uuid references people (id),
    created_at  timestamptz not null default now(),
    last_used_at timestamptz
);
