-- A number that the customer can quote for every operation.
alter table bank_operations add column number bigint generated always as identity (start with 7001) unique;

-- Who tried to be identified as whom: after repeated failures the answer is no for a while, whatever is said.
create table identification_attempts (
    id              uuid primary key,
    customer_id     uuid not null references customers (id),
    conversation_id uuid references conversations (id),
    matched         boolean not null,
    made_at         timestamptz not null default now()
);
create index identification_attempts_recent on identification_attempts (customer_id, made_at) where not matched;
