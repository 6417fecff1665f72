//! Applications that share something with another one.

use candor_engine::dialogue::Money;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::Result;

use super::super::Status;

/// A linked application.
#[derive(Debug, Clone)]
pub(super) struct Linked {
    pub(super) id: Uuid,
    pub(super) number: i64,
    pub(super) name: String,
    pub(super) amount_minor: i64,
    pub(super) currency: String,
    pub(super) status: Status,
    pub(super) received_at: DateTime<Utc>,
    pub(super) is_fraud: bool,
    pub(super) same_device: bool,
    pub(super) same_address: bool,
    pub(super) same_phone: bool,
    pub(super) same_email: bool,
    pub(super) same_customer: bool,
}

impl Linked {
    pub(super) fn amount(&self) -> Money {
        Money::new(self.amount_minor, self.currency.clone())
    }

    /// What both share, in words.
    pub(super) fn shares(&self) -> String {
        let all = [
            (self.same_customer, "customer"),
            (self.same_device, "device"),
            (self.same_address, "address"),
            (self.same_phone, "telephone"),
            (self.same_email, "e-mail"),
        ];
        let shared: Vec<&str> = all.into_iter().filter(|(same, _)| *same).map(|(_, what)| what).collect();
        format!("same {}", shared.join(", "))
    }
}

/// The applications that share device, address, telephone, mail address or customer with this one, newest first.
pub(super) async fn linked(db: &PgPool, application: Uuid) -> Result<Vec<Linked>> {
    let linked = sqlx::query_as!(
        Linked,
        r#"select b.id, b.number, b.applicant ->> 'name' as "name!", b.amount_minor, b.currency,
                  b.status as "status: Status", b.received_at, b.fraud_confirmed_at is not null as "is_fraud!",
                  coalesce(b.device = a.device, false) as "same_device!",
                  coalesce(b.address = a.address, false) as "same_address!",
                  coalesce(b.phone = a.phone, false) as "same_phone!",
                  coalesce(b.email = a.email, false) as "same_email!",
                  coalesce(b.customer_id = a.customer_id, false) as "same_customer!"
           from applications a
           join applications b on b.id <> a.id and (b.device = a.device or b.address = a.address or b.phone = a.phone
                                                    or b.email = a.email or b.customer_id = a.customer_id)
           where a.id = $1
           order by b.received_at desc, b.id desc
           limit 25"#,
        application,
    )
    .fetch_all(db)
    .await?;
    Ok(linked)
}
