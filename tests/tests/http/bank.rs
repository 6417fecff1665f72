//! The bank's records as the dialogue changes them: checked again, once, undone as one.

use candor::bank::{PostgresBank, today};
use candor::conversations::{Channel, store};
use candor_engine::dialogue::{
    Bank, BlockReason, ContactChange, CustomerId, DisputeReason, IdentityClaim, Operation, Receipt, Refusal, Who,
};
use candor_tests::TestApp;
use chrono::NaiveDate;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::records;

/// Performs an operation in a transaction of its own, as one turn does.
async fn perform(
    app: &TestApp,
    conversation: Uuid,
    customer: Uuid,
    key: &str,
    operation: Operation,
) -> Result<Receipt, Refusal> {
    let shared = Mutex::new(app.db.begin().await.unwrap());
    let bank = PostgresBank::new(&shared, conversation, today());
    let answer = bank.perform(Some(&CustomerId(customer.to_string())), key, &operation).await;
    bank.finish(&mut *shared.lock().await).await.unwrap();
    shared.into_inner().commit().await.unwrap();
    answer
}

async fn conversation(app: &TestApp) -> Uuid {
    store::start(&app.db, Channel::Web, None, None).await.unwrap()
}

async fn count(app: &TestApp, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&app.db).await.unwrap()
}

fn refused(answer: Result<Receipt, Refusal>) -> String {
    match answer {
        Err(Refusal::NotPossible(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn an_operation_sent_twice_under_its_key_happens_once() {
    let app = candor_tests::spawn().await;
    let ada = records::add(&app.db).await;
    let talk = conversation(&app).await;
    let block =
        || Operation::BlockCard { card: ada.debit.to_string(), last4: "4821".into(), reason: BlockReason::Lost };
    let first = perform(&app, talk, ada.id, "block", block()).await.unwrap();
    let second = perform(&app, talk, ada.id, "block", block()).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(count(&app, "select count(*) from audit_entries where action = 'card.blocked'").await, 1);
    assert!(refused(perform(&app, talk, ada.id, "another", block()).await).contains("blocked already"));

    let order = || Operation::OrderReplacement { card: ada.debit.to_string(), last4: "4821".into() };
    perform(&app, talk, ada.id, "order", order()).await.unwrap();
    assert!(refused(perform(&app, talk, ada.id, "order again", order()).await).contains("ordered already"));
    assert_eq!(count(&app, "select count(*) from cards where replaces is not null").await, 1);
}

#[tokio::test]
async fn a_refused_operation_leaves_no_trace() {
    let app = candor_tests::spawn().await;
    let ada = records::add(&app.db).await;
    let talk = conversation(&app).await;
    let order = Operation::OrderReplacement { card: ada.debit.to_string(), last4: "4821".into() };
    assert!(refused(perform(&app, talk, ada.id, "order", order).await).contains("still works"));
    assert_eq!(count(&app, "select count(*) from bank_operations").await, 0);
    assert_eq!(count(&app, "select count(*) from audit_entries").await, 0);
}

#[tokio::test]
async fn nobody_touches_the_records_of_somebody_else() {
    let app = candor_tests::spawn().await;
    let ada = records::add(&app.db).await;
    let talk = conversation(&app).await;
    let stranger = Uuid::now_v7();
    let block = Operation::BlockCard { card: ada.debit.to_string(), last4: "4821".into(), reason: BlockReason::Stolen };
    assert!(refused(perform(&app, talk, stranger, "k", block).await).contains("can not find"));
    let dispute = Operation::OpenDispute {
        payment: ada.books.to_string(),
        reason: DisputeReason::NotRecognised,
        explanation: "Not mine".into(),
    };
    assert!(refused(perform(&app, talk, stranger, "k", dispute).await).contains("can not find"));
    assert_eq!(count(&app, "select count(*) from cards where status = 'blocked'").await, 0);
}

#[tokio::test]
async fn a_payment_is_disputed_once_and_only_if_it_left_the_account() {
    let app = candor_tests::spawn().await;
    let ada = records::add(&app.db).await;
    let talk = conversation(&app).await;
    let dispute = |payment: Uuid| Operation::OpenDispute {
        payment: payment.to_string(),
        reason: DisputeReason::ChargedTwice,
        explanation: "They took it twice".into(),
    };
    let receipt = perform(&app, talk, ada.id, "a", dispute(ada.books)).await.unwrap();
    assert_eq!(receipt.reference, "D-3001");
    assert!(receipt.text.contains("€49.90") && receipt.text.contains("Nordlicht Books"), "{}", receipt.text);
    assert!(refused(perform(&app, talk, ada.id, "b", dispute(ada.books)).await).contains("D-3001"));
    assert!(refused(perform(&app, talk, ada.id, "c", dispute(ada.salary)).await).contains("came in"));
}

#[tokio::test]
async fn contact_details_are_checked_and_a_complaint_needs_no_customer() {
    let app = candor_tests::spawn().await;
    let ada = records::add(&app.db).await;
    let talk = conversation(&app).await;
    let email = |email: &str| Operation::ChangeContact { change: ContactChange::Email { email: email.into() } };
    assert!(refused(perform(&app, talk, ada.id, "a", email("not an address")).await).contains("mail address"));
    perform(&app, talk, ada.id, "b", email("ada@new.example")).await.unwrap();
    assert_eq!(candor::bank::customer(&app.db, ada.id).await.unwrap().email, "ada@new.example");

    let shared = Mutex::new(app.db.begin().await.unwrap());
    let bank = PostgresBank::new(&shared, talk, today());
    let complaint =
        Operation::FileComplaint { about: "The branch was closed".into(), wish: "An apology".into(), reply_to: None };
    let receipt = bank.perform(None, "c", &complaint).await.unwrap();
    assert_eq!(receipt.reference, "CO-5001");
    let block = Operation::BlockCard { card: ada.debit.to_string(), last4: "4821".into(), reason: BlockReason::Lost };
    assert!(
        matches!(bank.perform(None, "d", &block).await, Err(Refusal::NotPossible(_))),
        "unknown, nothing is blocked"
    );
}

#[tokio::test]
async fn identification_ignores_case_and_spaces_and_a_shared_address_identifies_nobody() {
    let app = candor_tests::spawn().await;
    let ada = records::add(&app.db).await;
    let talk = conversation(&app).await;
    let claim = |who: Who| IdentityClaim {
        who,
        date_of_birth: NaiveDate::from_ymd_opt(1990, 5, 14).unwrap(),
        postcode: "10 115".into(),
    };
    let ask = async |who: Who| {
        let shared = Mutex::new(app.db.begin().await.unwrap());
        let bank = PostgresBank::new(&shared, talk, today());
        bank.identify(&claim(who)).await.unwrap().map(|customer| customer.id.0)
    };
    assert_eq!(ask(Who::CustomerNumber("c-10023".into())).await, Some(ada.id.to_string()));
    assert_eq!(ask(Who::Email("Ada@Post.example".into())).await, Some(ada.id.to_string()));
    sqlx::query(
        "insert into customers (id, number, name, email, postcode, date_of_birth)
         values ($1, 'C-2', 'Ada the second', 'ADA@post.example', '10115', '1990-05-14')",
    )
    .bind(Uuid::now_v7())
    .execute(&app.db)
    .await
    .unwrap();
    assert_eq!(ask(Who::Email("ada@post.example".into())).await, None);
    assert_eq!(ask(Who::CustomerNumber("C-10023".into())).await, Some(ada.id.to_string()));
}
