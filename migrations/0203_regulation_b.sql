-- Every version of the catalogue of reasons that was ever in use.
create table reason_catalogues (
    version      integer primary key check (version > 0),
    sha256       text not null,
    body         jsonb not null,
    installed_at timestamptz not null default now()
);
create trigger reason_catalogues_append_only before update or delete on reason_catalogues
    for each row execute function refuse_change();

alter table letters
    add column language text not null default 'en' check (language in ('en', 'zh')),
    add column catalogue_version integer references reason_catalogues (version);

-- 12 CFR 1002.9(a)(1): thirty days from a complete application. While documents are awaited it is not complete.
alter table applications
    add column completed_at timestamptz,
    add column erased_at timestamptz;
update applications set completed_at = received_at where status <> 'documents';
alter table applications add constraint applications_erased_when_decided check (erased_at is null or decided_at is not null);
create index applications_to_erase on applications (decided_at) where erased_at is null and decided_at is not null;

-- 12 CFR 1002.12(b): kept for 25 months, then erased. What was kept as it was gives up its personal data when its
-- application was erased, and nothing else.
create function is_erased(application uuid) returns boolean language sql stable as $$
    select exists (select 1 from applications where id = application and erased_at is not null)
$$;
create function applications_stay_erased() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        raise exception 'applications are kept' using errcode = 'integrity_constraint_violation';
    end if;
    if old.erased_at is not null and new.erased_at is distinct from old.erased_at then
        raise exception 'an erased application stays erased' using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;
create trigger applications_stay_erased before update or delete on applications
    for each row execute function applications_stay_erased();

drop trigger assessments_append_only on assessments;
create function assessments_keep() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and is_erased(old.application_id)
        and (old.id, old.application_id, old.policy_id, old.model_version, old.model_sha256, old.probability, old.margin,
             old.band, old.proposal, old.created_at)
            is not distinct from
            (new.id, new.application_id, new.policy_id, new.model_version, new.model_sha256, new.probability, new.margin,
             new.band, new.proposal, new.created_at) then
        return new;
    end if;
    raise exception 'assessments are append-only' using errcode = 'integrity_constraint_violation';
end $$;
create trigger assessments_keep before update or delete on assessments for each row execute function assessments_keep();

drop trigger labels_append_only on labels;
create function labels_keep() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and is_erased(old.application_id) and new.note = ''
        and (old.id, old.application_id, old.kind, old.known_at, old.person_id, old.client_id, old.created_at)
            is not distinct from
            (new.id, new.application_id, new.kind, new.known_at, new.person_id, new.client_id, new.created_at) then
        return new;
    end if;
    raise exception 'labels are append-only' using errcode = 'integrity_constraint_violation';
end $$;
create trigger labels_keep before update or delete on labels for each row execute function labels_keep();

create or replace function letters_keep_as_sent() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and new.body_text = '' and new.body_html = '' and new.sha256 = old.sha256
        and new.decision_id = old.decision_id and new.sent_at = old.sent_at
        and is_erased((select application_id from decisions where id = old.decision_id)) then
        return new;
    end if;
    if tg_op = 'DELETE' or (old.subject, old.body_html, old.body_text, old.sha256, old.decision_id, old.sent_at)
        is distinct from (new.subject, new.body_html, new.body_text, new.sha256, new.decision_id, new.sent_at) then
        raise exception 'letters are kept as sent' using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;

create or replace function decisions_keep() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        raise exception 'decisions are kept' using errcode = 'integrity_constraint_violation';
    end if;
    if tg_op = 'UPDATE' and old.status <> 'proposed' then
        if is_erased(old.application_id) and new.comment = ''
            and (old.id, old.application_id, old.assessment_id, old.outcome, old.reason_codes, old.is_override,
                 old.needs_second, old.status, old.decided_by, old.seconded_by, old.created_at, old.finished_at)
                is not distinct from
                (new.id, new.application_id, new.assessment_id, new.outcome, new.reason_codes, new.is_override,
                 new.needs_second, new.status, new.decided_by, new.seconded_by, new.created_at, new.finished_at) then
            return new;
        end if;
        raise exception 'a finished decision is kept as it was' using errcode = 'integrity_constraint_violation';
    end if;
    if new.seconded_by is not null
        and not exists (select 1 from people where id = new.seconded_by and role = 'senior_officer') then
        raise exception 'only a senior officer seconds a decision'
            using errcode = 'check_violation', constraint = 'decisions_second_senior';
    end if;
    return new;
end $$;
