-- Policies are versioned data: draft, active (exactly one), retired.
create table policies (
    id           uuid primary key,
    version      bigint generated always as identity unique,
    name         text not null,
    body         jsonb not null,                 -- risk::Policy
    status       text not null default 'draft' check (status in ('draft', 'active', 'retired')),
    drafted_by   uuid references people (id),
    activated_by uuid references people (id),
    created_at   timestamptz not null default now(),
    activated_at timestamptz,
    retired_at   timestamptz,
    constraint policies_four_eyes check (activated_by is null or drafted_by is null or activated_by <> drafted_by)
);
create unique index policies_one_active on policies ((true)) where status = 'active';

create table application_drafts (                 -- /apply, saved as it goes
    id         uuid primary key,
    token_hash bytea not null unique,
    answers    jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table applications (
    id              uuid primary key,
    number          bigint generated always as identity (start with 20001) unique,
    customer_id     uuid references customers (id),
    conversation_id uuid references conversations (id),
    channel         text not null check (channel in ('web', 'chat', 'api', 'branch')),
    external_id     text,
    applicant       jsonb not null,              -- name, contact, particulars as given
    factors         jsonb not null,              -- risk::Application, as scored
    amount_minor    bigint not null check (amount_minor > 0),
    currency        text not null default 'EUR',
    term_months     integer not null check (term_months between 1 and 480),
    purpose         text not null,
    status          text not null default 'received'
                    check (status in ('received', 'documents', 'referred', 'pending_second', 'approved', 'declined', 'withdrawn')),
    assignee_id     uuid references people (id),
    status_token_hash bytea,                     -- the applicant's link to the status page
    received_at     timestamptz not null default now(),
    decide_by       timestamptz not null,        -- Regulation B: 30 days from a complete application
    decided_at      timestamptz
);
create index applications_queue on applications (status, received_at);
create index applications_customer on applications (customer_id, received_at desc);
create unique index applications_external on applications (external_id) where external_id is not null;

create table assessments (
    id             uuid primary key,
    application_id uuid not null references applications (id),
    policy_id      uuid not null references policies (id),
    model_version  text not null,
    model_sha256   text not null,
    factors        jsonb not null,               -- what was scored
    probability    double precision not null,
    margin         double precision not null,
    band           text not null,
    proposal       text not null,
    assessment     jsonb not null,               -- risk::Assessment, whole
    created_at     timestamptz not null default now()
);
create index assessments_application on assessments (application_id, created_at desc);
create trigger assessments_append_only before update or delete on assessments
    for each row execute function refuse_change();

create table decisions (
    id             uuid primary key,
    application_id uuid not null references applications (id),
    assessment_id  uuid not null references assessments (id),
    outcome        text not null check (outcome in ('approved', 'declined', 'referred', 'documents')),
    reason_codes   text[] not null default '{}',
    comment        text not null default '',
    is_override    boolean not null,
    override_reason text,
    needs_second   boolean not null,
    status         text not null check (status in ('proposed', 'final', 'rejected')),
    decided_by     uuid not null references people (id),
    seconded_by    uuid references people (id),
    created_at     timestamptz not null default now(),
    finished_at    timestamptz,
    constraint decisions_override_reason check (not is_override or length(trim(coalesce(override_reason, ''))) >= 10),
    constraint decisions_decline_reasons check (outcome <> 'declined' or cardinality(reason_codes) between 1 and 4),
    constraint decisions_four_eyes check (seconded_by is null or seconded_by <> decided_by),
    constraint decisions_second_needed check (status <> 'final' or not needs_second or seconded_by is not null)
);
create unique index decisions_one_open on decisions (application_id) where status = 'proposed';
create index decisions_application on decisions (application_id, created_at desc);

create table letters (
    id          uuid primary key,
    decision_id uuid not null unique references decisions (id),
    subject     text not null,
    body_html   text not null,
    body_text   text not null,
    sha256      text not null,
    mailed_to   text,
    mailed_at   timestamptz,
    sent_at     timestamptz not null default now()
);
-- A letter is kept as sent; only the fact of mailing may be added later.
create function letters_keep_as_sent() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' or (old.subject, old.body_html, old.body_text, old.sha256, old.decision_id, old.sent_at)
        is distinct from (new.subject, new.body_html, new.body_text, new.sha256, new.decision_id, new.sent_at) then
        raise exception 'letters are kept as sent' using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;
create trigger letters_keep before update or delete on letters for each row execute function letters_keep_as_sent();
