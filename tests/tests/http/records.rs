//! A customer of the bank with two accounts, two cards and a few payments.

use sqlx::PgPool;
use uuid::Uuid;

/// Keys of what [`add`] wrote.
pub(crate) struct Ada {
    pub id: Uuid,
    /// The debit card ending 4821.
    pub debit: Uuid,
    /// Paid by card, €49.90 to Nordlicht Books.
    pub books: Uuid,
    /// Came in, €2,400.00.
    pub salary: Uuid,
}

/// Ada Weber, `C-10023`, born on 14 May 1990, postcode 10115.
pub(crate) async fn add(db: &PgPool) -> Ada {
    let ada = Ada { id: Uuid::now_v7(), debit: Uuid::now_v7(), books: Uuid::now_v7(), salary: Uuid::now_v7() };
    let account = Uuid::now_v7();
    sqlx::query(
        "insert into customers (id, number, name, email, phone, street, city, postcode, date_of_birth)
         values ($1, 'C-10023', 'Ada Weber', 'ada@post.example', '+49 30 1234567', 'Lindenstrasse 14', 'Berlin',
                 '10115', '1990-05-14')",
    )
    .bind(ada.id)
    .execute(db)
    .await
    .unwrap();
    sqlx::query(
        "insert into accounts (id, customer_id, number, kind, name, balance_minor)
         values ($1, $2, 'DE02120300000000202051', 'current', 'Everyday account', 253017)",
    )
    .bind(account)
    .bind(ada.id)
    .execute(db)
    .await
    .unwrap();
    for (id, kind, last4) in [(ada.debit, "debit", "4821"), (Uuid::now_v7(), "credit", "7730")] {
        sqlx::query("insert into cards (id, customer_id, account_id, kind, last4) values ($1, $2, $3, $4, $5)")
            .bind(id)
            .bind(ada.id)
            .bind(account)
            .bind(kind)
            .bind(last4)
            .execute(db)
            .await
            .unwrap();
    }
    for (id, kind, other, amount) in
        [(ada.books, "card", "Nordlicht Books", -4990_i64), (ada.salary, "salary", "Werft AG", 240_000)]
    {
        sqlx::query(
            "insert into payments (id, account_id, kind, counterparty, amount_minor, status, made_at)
             values ($1, $2, $3, $4, $5, 'completed', now() - interval '2 days')",
        )
        .bind(id)
        .bind(account)
        .bind(kind)
        .bind(other)
        .bind(amount)
        .execute(db)
        .await
        .unwrap();
    }
    ada
}
