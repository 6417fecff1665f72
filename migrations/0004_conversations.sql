create table conversations (
    id               uuid primary key,
    number           bigint generated always as identity (start with 1001) unique,
    visitor_hash     bytea,                      -- SHA-256 of the browser's token
    customer_id      uuid references customers (id),
    channel          text not null default 'web' check (channel in ('web', 'api', 'phone', 'email')),
    status           text not null default 'assistant' check (status in ('assistant', 'waiting', 'agent', 'resolved')),
    assignee_id      uuid references people (id),
    assignee_hold_until timestamptz,             -- "take next" holds a conversation for its agent
    intent           text,
    intent_confidence real,
    sentiment        text check (sentiment in ('negative', 'neutral', 'positive')),
    sentiment_score  real,
    dialogue         jsonb not null default '{}',  -- dialogue::State
    summary          jsonb not null default '{}',  -- dialogue::Summary, for the desk
    last_seq         bigint not null default 0,
    last_words       text not null default '',
    last_author      text not null default '',
    waiting_since    timestamptz,                -- since when a person is awaited
    created_at       timestamptz not null default now(),
    last_message_at  timestamptz not null default now(),
    resolved_at      timestamptz,
    resolved_by      text,                       -- 'assistant', 'agent', 'customer'
    csat             smallint check (csat between 1 and 5),
    csat_comment     text,
    check (status <> 'agent' or assignee_id is not null)
);
create index conversations_inbox on conversations (status, last_message_at desc);
create index conversations_assignee on conversations (assignee_id) where status <> 'resolved';
create index conversations_customer on conversations (customer_id, created_at desc);
create index conversations_visitor on conversations (visitor_hash);

create table messages (
    id              uuid primary key,
    conversation_id uuid not null references conversations (id),
    seq             bigint not null,             -- 1, 2, 3 … within the conversation
    author          text not null check (author in ('customer', 'assistant', 'agent', 'note', 'event')),
    person_id       uuid references people (id),
    text            text not null check (length(text) <= 8000),
    understanding   jsonb,                       -- engine's Understanding of a customer's message
    action          jsonb,                       -- dialogue::Action behind an assistant's message
    model_version   text,
    client_key      text,                        -- the sender's own key: a message sent twice is kept once
    search          tsvector generated always as (to_tsvector('english', text)) stored,
    created_at      timestamptz not null default now(),
    constraint messages_seq_unique unique (conversation_id, seq),
    constraint messages_client_key_unique unique (conversation_id, client_key)
);
create index messages_search on messages using gin (search);

create table canned_responses (
    id         uuid primary key,
    shortcut   text not null unique check (shortcut ~ '^[a-z0-9-]{1,40}$'),
    title      text not null,
    text       text not null,
    updated_by uuid references people (id),
    updated_at timestamptz not null default now()
);
