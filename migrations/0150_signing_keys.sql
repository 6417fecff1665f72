-- Keys the program makes for itself where the configuration gives none.
create table signing_keys (
    purpose    text primary key,
    key        bytea not null check (length(key) >= 32),
    created_at timestamptz not null default now()
);
