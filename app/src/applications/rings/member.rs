//! The members of a ring.

use candor_engine::dialogue::Money;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::Result;

use super::super::Status;

/// What applications share, in the order of [`Member::marks`].
const MARKS: [&str; 7] = ["customer", "device", "address", "telephone", "e-mail", "account", "employer"];

/// An application of a ring.
#[derive(Debug, Clone)]
pub(in crate::applications) struct Member {
    pub(in crate::applications) id: Uuid,
    pub(in crate::applications) number: i64,
    pub(in crate::applications) name: String,
    pub(in crate::applications) amount_minor: i64,
    pub(in crate::applications) currency: String,
    pub(in crate::applications) status: Status,
    pub(in crate::applications) received_at: DateTime<Utc>,
    pub(in crate::applications) is_fraud: bool,
    /// Steps from the application in the middle; 0 is that one itself.
    pub(in crate::applications) steps: i32,
    customer: Option<String>,
    device: Option<String>,
    address: Option<String>,
    phone: Option<String>,
    email: Option<String>,
    account: Option<String>,
    employer: Option<String>,
}

impl Member {
    pub(in crate::applications) fn amount(&self) -> Money {
        Money::new(self.amount_minor, self.currency.clone())
    }

    fn marks(&self) -> [&Option<String>; 7] {
        [&self.customer, &self.device, &self.address, &self.phone, &self.email, &self.account, &self.employer]
    }

    /// What both share.
    pub(in crate::applications) fn shared(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.marks().into_iter().zip(other.marks());
        pairs.zip(MARKS).filter(|((a, b), _)| a.is_some() && a == b).map(|(_, mark)| mark).collect()
    }
}

/// The application itself, then everybody in its ring as of now, the nearest first. Applications of the same customer or
/// mail address are shown beside it, although they do not make a ring by themselves.
pub(in crate::applications) async fn ring(db: &PgPool, application: Uuid) -> Result<Vec<Member>> {
    let members = sqlx::query_as!(
        Member,
        r#"with middle as (select * from applications where id = $1),
           near as (
             select $1 as id, 0 as steps
             union all
             select r.id, r.steps from middle m, ring(m.device, m.address, m.phone, m.account, m.employer, 'infinity') r
             union all
             (select b.id, 1 from middle m join applications b on b.email = m.email or b.customer_id = m.customer_id limit 60)),
           nearest as (select id, min(steps) as steps from near group by id)
           select a.id, a.number, a.applicant ->> 'name' as "name!", a.amount_minor, a.currency,
                  a.status as "status: Status", a.received_at, a.fraud_confirmed_at is not null as "is_fraud!",
                  n.steps as "steps!", a.customer_id::text as customer, a.device, a.address, a.phone, a.email,
                  a.account, a.employer
           from nearest n join applications a on a.id = n.id
           order by n.steps, a.received_at desc, a.id desc limit 61"#,
        application,
    )
    .fetch_all(db)
    .await?;
    Ok(members)
}
