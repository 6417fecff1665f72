-- What is kept only for a time: conversations without their words, and answers to requests sent twice.
alter table conversations add column erased_at timestamptz;
create index conversations_kept on conversations (last_message_at) where erased_at is null;
create index idempotency_keys_created on idempotency_keys (created_at);
create index webhook_events_created on webhook_events (created_at);
