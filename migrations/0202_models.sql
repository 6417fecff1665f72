-- Risk models: every version stays with its file, so that every score can be made again. One is in force, at most one
-- more scores beside it unseen (in shadow), and only a second person puts another one in force.
create table risk_models (
    id            uuid primary key,
    version       text not null,
    sha256        text not null unique check (sha256 ~ '^[0-9a-f]{64}$'),
    file          bytea not null,
    card          text not null default '',
    came_with     boolean not null default false,   -- with the program or its configured weights, not through people
    status        text not null default 'registered' check (status in ('registered', 'shadow', 'active', 'retired')),
    created_at    timestamptz not null default now(),
    shadow_by     uuid references people (id),
    shadow_since  timestamptz,
    proposed_by   uuid references people (id),
    proposed_at   timestamptz,
    promoted_by   uuid references people (id),
    promoted_at   timestamptz,
    retired_at    timestamptz,
    constraint risk_models_four_eyes check (promoted_by is null or (proposed_by is not null and promoted_by <> proposed_by)),
    constraint risk_models_promoted_by_people check (status <> 'active' or promoted_by is not null or came_with),
    constraint risk_models_shadow_since check (status <> 'shadow' or shadow_since is not null)
);
create unique index risk_models_one_active on risk_models ((true)) where status = 'active';
create unique index risk_models_one_shadow on risk_models ((true)) where status = 'shadow';
create function risk_models_keep() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' or (old.version, old.sha256, old.file, old.came_with, old.created_at)
        is distinct from (new.version, new.sha256, new.file, new.came_with, new.created_at) then
        raise exception 'risk models are kept' using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;
create trigger risk_models_keep before update or delete on risk_models for each row execute function risk_models_keep();

-- What the model in shadow said. Nobody who decides sees it.
create table shadow_assessments (
    id             uuid primary key,
    application_id uuid not null references applications (id),
    model_id       uuid not null references risk_models (id),
    policy_id      uuid not null references policies (id),
    probability    double precision not null,
    margin         double precision not null,
    band           text not null,
    proposal       text not null,
    created_at     timestamptz not null default now(),
    constraint shadow_assessments_once unique (model_id, application_id)
);
create trigger shadow_assessments_append_only before update or delete on shadow_assessments
    for each row execute function refuse_change();
