-- What the customer sees, what the assistant has answered, and operations that must not happen twice.
alter table messages add column for_customer boolean not null default true;
alter table messages add constraint messages_notes_stay_inside check (author <> 'note' or not for_customer);

-- The last message of the customer that needs no further answer from the assistant.
alter table conversations add column answered_seq bigint not null default 0;

-- An operation confirmed by a customer, under the conversation's key: sent twice, it is performed once.
create table bank_operations (
    conversation_id uuid not null references conversations (id),
    key             text not null,
    operation       jsonb not null,              -- dialogue::Operation
    receipt         jsonb not null,              -- dialogue::Receipt
    performed_at    timestamptz not null default now(),
    primary key (conversation_id, key)
);
