-- The bank's own records: what a customer asks about. A bank connects its core here; the demonstration fills it.
create table customers (
    id            uuid primary key,
    number        text not null unique,          -- 'C-10023'
    name          text not null,
    email         text not null,
    phone         text not null default '',
    street        text not null default '',
    city          text not null default '',
    postcode      text not null default '',
    date_of_birth date not null,
    external_id   text unique,                   -- the CRM's own key
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now()
);
create index customers_email on customers (lower(email));

create table accounts (
    id            uuid primary key,
    customer_id   uuid not null references customers (id),
    number        text not null unique,
    kind          text not null check (kind in ('current', 'savings', 'loan')),
    name          text not null,
    currency      text not null default 'EUR' check (length(currency) = 3),
    balance_minor bigint not null,               -- cents; negative for what is owed
    opened_at     timestamptz not null default now()
);
create index accounts_customer on accounts (customer_id);

create table cards (
    id          uuid primary key,
    customer_id uuid not null references customers (id),
    account_id  uuid not null references accounts (id),
    kind        text not null check (kind in ('debit', 'credit')),
    last4       text not null check (last4 ~ '^[0-9]{4}$'),
    status      text not null default 'active' check (status in ('ordered', 'active', 'blocked')),
    block_reason text,
    blocked_at  timestamptz,
    replaces    uuid unique references cards (id),  -- one replacement for one card
    arrives_on  date,
    created_at  timestamptz not null default now()
);
create index cards_customer on cards (customer_id);

create table payments (
    id           uuid primary key,
    account_id   uuid not null references accounts (id),
    card_id      uuid references cards (id),
    kind         text not null check (kind in ('card', 'transfer_in', 'transfer_out', 'direct_debit', 'salary', 'fee', 'cash')),
    counterparty text not null,
    reference    text not null default '',
    amount_minor bigint not null,                -- negative: money that left
    currency     text not null default 'EUR',
    status       text not null check (status in ('pending', 'completed', 'failed', 'returned')),
    status_detail text not null default '',      -- in words for the customer
    made_at      timestamptz not null,
    expected_on  date                            -- when a pending payment should arrive
);
create index payments_account on payments (account_id, made_at desc);

create table disputes (
    id              uuid primary key,
    number          bigint generated always as identity (start with 3001) unique,
    customer_id     uuid not null references customers (id),
    payment_id      uuid not null references payments (id),
    conversation_id uuid,
    reason          text not null,
    status          text not null default 'open' check (status in ('open', 'refunded', 'rejected')),
    created_at      timestamptz not null default now(),
    constraint disputes_payment_unique unique (payment_id)
);
create table complaints (
    id              uuid primary key,
    number          bigint generated always as identity (start with 5001) unique,
    customer_id     uuid references customers (id),
    conversation_id uuid,
    about           text not null,
    status          text not null default 'open' check (status in ('open', 'answered', 'closed')),
    answer_due      date not null,
    created_at      timestamptz not null default now()
);
