-- What the bank measures its risk model by: one row, see app/src/reports/risk/settings.rs.
create table risk_settings (
    one        boolean primary key default true check (one),
    body       jsonb not null,
    changed_by uuid references people (id),
    changed_at timestamptz not null default now()
);
