-- What links applications with each other, computed by Postgres so that every channel is compared alike.
alter table applications
    add column session jsonb not null default '{}',      -- device and session facts, as far as the channel knows them
    add column branch text,
    add column draft_id uuid constraint applications_draft_unique unique,  -- a form sent twice is one application
    add column fraud_confirmed_at timestamptz,
    add column fraud_confirmed_by uuid references people (id),
    add column email text generated always as (nullif(lower(trim(applicant ->> 'email')), '')) stored,
    add column phone text generated always as
        (nullif(right(regexp_replace(coalesce(applicant ->> 'phone', ''), '[^0-9]', '', 'g'), 9), '')) stored,
    add column postcode text generated always as
        (nullif(upper(regexp_replace(coalesce(applicant ->> 'postcode', ''), '\s', '', 'g')), '')) stored,
    add column address text generated always as
        (nullif(lower(regexp_replace(coalesce(applicant ->> 'street', '') || coalesce(applicant ->> 'postcode', ''), '[\s.,-]', '', 'g')), '')) stored,
    add column birth text generated always as (applicant ->> 'date_of_birth') stored,
    add column device text generated always as (nullif(session ->> 'device', '')) stored;
create index applications_received on applications (received_at);
create index applications_email on applications (email, received_at);
create index applications_phone on applications (phone, received_at);
create index applications_postcode on applications (postcode, received_at);
create index applications_address on applications (address, received_at);
create index applications_birth on applications (birth, received_at);
create index applications_device on applications (device, received_at);
create index applications_assignee on applications (assignee_id) where decided_at is null;
create unique index applications_status_token on applications (status_token_hash);

-- A second person is a senior officer; the page says so too, the database makes sure.
create function decisions_keep() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        raise exception 'decisions are kept' using errcode = 'integrity_constraint_violation';
    end if;
    if tg_op = 'UPDATE' and old.status <> 'proposed' then
        raise exception 'a finished decision is kept as it was' using errcode = 'integrity_constraint_violation';
    end if;
    if new.seconded_by is not null
        and not exists (select 1 from people where id = new.seconded_by and role = 'senior_officer') then
        raise exception 'only a senior officer seconds a decision'
            using errcode = 'check_violation', constraint = 'decisions_second_senior';
    end if;
    return new;
end $$;
create trigger decisions_keep before insert or update or delete on decisions
    for each row execute function decisions_keep();

-- What a policy says can only change while it is a draft: an assessment can always be repeated.
alter table policies add column note text not null default '';
create function policies_keep() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' and old.status <> 'draft' then
        raise exception 'policies that were in force are kept' using errcode = 'integrity_constraint_violation';
    end if;
    if tg_op = 'UPDATE' and old.status <> 'draft' and (old.body, old.version, old.drafted_by, old.activated_at)
        is distinct from (new.body, new.version, new.drafted_by, new.activated_at) then
        raise exception 'policies that were in force are kept' using errcode = 'integrity_constraint_violation';
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end $$;
create trigger policies_keep before update or delete on policies for each row execute function policies_keep();
