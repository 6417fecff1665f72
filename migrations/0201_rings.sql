-- Two more marks that applications may share, and the ring that shared marks make.
alter table applications
    add column account text generated always as
        (nullif(upper(regexp_replace(coalesce(applicant ->> 'account', ''), '\s', '', 'g')), '')) stored,
    add column employer text generated always as
        (nullif(lower(regexp_replace(coalesce(applicant ->> 'employer', ''), '[\s.,-]', '', 'g')), '')) stored;
create index applications_account on applications (account, received_at) where account is not null;
create index applications_employer on applications (employer, received_at) where employer is not null;

-- Applications received until then that bear one of these marks. A mark that more than 40 applications bear (a large
-- employer, a block of flats) tells nothing about any of them and links none.
create function bearing(of_device text, of_address text, of_phone text, of_account text, of_employer text, until timestamptz)
returns setof uuid language sql stable parallel safe as $$
    select id from (select id, count(*) over () as bearers from (select id from applications where device = of_device and received_at <= until limit 41) a) b where bearers <= 40
    union
    select id from (select id, count(*) over () as bearers from (select id from applications where address = of_address and received_at <= until limit 41) a) b where bearers <= 40
    union
    select id from (select id, count(*) over () as bearers from (select id from applications where phone = of_phone and received_at <= until limit 41) a) b where bearers <= 40
    union
    select id from (select id, count(*) over () as bearers from (select id from applications where account = of_account and received_at <= until limit 41) a) b where bearers <= 40
    union
    select id from (select id, count(*) over () as bearers from (select id from applications where employer = of_employer and received_at <= until limit 41) a) b where bearers <= 40
$$;

-- The ring around these marks as of a moment: who bears one of them, who shares one with those, and once more. At most
-- about 60 members: more are not looked at by anybody and cost every submission.
create function ring(of_device text, of_address text, of_phone text, of_account text, of_employer text, until timestamptz)
returns table (id uuid, steps integer) language plpgsql stable as $$
declare
    members uuid[] := '{}';
    frontier uuid[];
    step integer := 1;
begin
    select array_agg(bearer) into frontier
        from (select bearer from bearing(of_device, of_address, of_phone, of_account, of_employer, until) bearer limit 60) f;
    while frontier is not null loop
        members := members || frontier;
        return query select unnest(frontier), step;
        exit when step = 3 or cardinality(members) >= 60;
        step := step + 1;
        select array_agg(bearer) into frontier from (
            select distinct bearer
            from applications a, bearing(a.device, a.address, a.phone, a.account, a.employer, until) bearer
            where a.id = any (frontier) and bearer <> all (members)
            limit 60) f;
    end loop;
end $$;
