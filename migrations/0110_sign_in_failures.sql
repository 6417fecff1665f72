-- Failed sign-ins, counted under a hash of where they came from, so that guessing gets slower and replicas agree.
create table sign_in_failures (
    key      bytea primary key,                  -- SHA-256 of the address, or of the address and the email
    failures integer not null,
    last_at  timestamptz not null
);
create index sign_in_failures_old on sign_in_failures (last_at);
