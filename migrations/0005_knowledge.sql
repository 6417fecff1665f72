create table articles (
    id         uuid primary key,
    slug       text not null unique,
    title      text not null,
    body       text not null,                    -- Markdown
    tags       text[] not null default '{}',
    status     text not null default 'published' check (status in ('draft', 'published', 'retired')),
    updated_by uuid references people (id),
    updated_at timestamptz not null default now(),
    created_at timestamptz not null default now()
);
create table article_passages (
    id         uuid primary key,
    article_id uuid not null references articles (id) on delete cascade,
    ordinal    integer not null,
    heading    text not null default '',
    text       text not null,
    embedding  real[] not null,
    search     tsvector generated always as (to_tsvector('english', heading || ' ' || text)) stored,
    unique (article_id, ordinal)
);
create index article_passages_search on article_passages using gin (search);
