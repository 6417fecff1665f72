//! What belongs together in the database, whatever happened to the program: applications with their assessments, assessments
//! and decisions with their audit entries, decisions with their letters.

use sqlx::PgPool;

/// A line for everything that is there without what belongs to it. Nothing else may have written to the database than the
/// submission of applications and decisions on them.
pub(crate) async fn unpaired(db: &PgPool) -> Vec<String> {
    sqlx::query_scalar(UNPAIRED).fetch_all(db).await.unwrap()
}

const UNPAIRED: &str = "
with entry as (
    select number, action, subject_id, details::jsonb as details from audit_entries),
expected as (
    select id, application_id, unnest(array_remove(array[
        case when needs_second then 'decision.proposed' else 'decision.made' end,
        case when is_override then 'decision.override' end,
        case when needs_second and status = 'final' then 'decision.seconded' end,
        case when status = 'rejected' then 'decision.refused' end], null)) as action
    from decisions),
told as (
    select number, (details->>'decision')::uuid as id, subject_id, action from entry where action like 'decision.%')
select 'application ' || a.number || ' has ' || count(s.id) || ' assessments'
from applications a left join assessments s on s.application_id = a.id
group by a.number having count(s.id) <> 1
union all
select 'assessment ' || s.id || ' has ' || count(e.number) || ' entries'
from assessments s left join entry e on e.action = 'application.assessed' and e.subject_id = s.application_id::text
     and e.details->>'assessment' = s.id::text and (e.details->>'probability')::float8 = s.probability
group by s.id having count(e.number) <> 1
union all
select 'entry ' || e.number || ' has no assessment'
from entry e left join assessments s on s.id = (e.details->>'assessment')::uuid
where e.action = 'application.assessed' and s.id is null
union all
select 'decision ' || x.id || ' has ' || count(t.number) || ' entries ' || x.action
from expected x left join told t on t.id = x.id and t.action = x.action and t.subject_id = x.application_id::text
group by x.id, x.action having count(t.number) <> 1
union all
select 'entry ' || t.number || ' (' || t.action || ') has no decision that it tells of'
from told t left join expected x on x.id = t.id and x.action = t.action where x.id is null
union all
select 'decision ' || d.id || ' has ' || count(l.id) || ' letters'
from decisions d left join letters l on l.decision_id = d.id
group by d.id, d.status, d.outcome
having count(l.id) <> case when d.status = 'final' and d.outcome <> 'referred' then 1 else 0 end
union all
select 'application ' || a.number || ' is ' || a.status || ' and its last decision is ' || coalesce(d.outcome, 'none')
from applications a left join lateral (
    select outcome, status from decisions d where d.application_id = a.id order by created_at desc, id desc limit 1) d on true
where a.status <> case when d.status is null then 'received'
                       when d.status = 'proposed' then 'pending_second'
                       when d.status = 'rejected' then 'referred'
                       else d.outcome end";
