-- Which suggested or canned answers agents sent, and whether they changed them first.
create table suggestion_uses (
    message_id uuid primary key references messages (id),
    kind       text not null check (kind in ('article', 'flow', 'canned')),
    source     text not null,                    -- the article's slug, the flow's name, the canned response's shortcut
    suggested  text not null check (length(suggested) <= 8000),
    edited     boolean not null,
    created_at timestamptz not null default now()
);
create index suggestion_uses_source on suggestion_uses (kind, source);
