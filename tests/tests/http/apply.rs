//! `/apply`: the form in steps, saved as it goes, sent once.

use candor_tests::{Browser, TestApp, spawn};
use reqwest::{Response, StatusCode};

const NOTHING: [(&str, &str); 0] = [];

/// The right answers, by step.
const ANSWERS: [&[(&str, &str)]; 6] = [
    &[("amount", "8.000"), ("term_months", "36"), ("purpose", "car")],
    &[("name", "Ada Byron"), ("date_of_birth-day", "27"), ("date_of_birth-month", "3"), ("date_of_birth-year", "1985")],
    &[("email", "ada.byron@post.example"), ("phone", "+49 151 23456789"), ("landline", "")],
    &[
        ("street", "Kai 3"),
        ("postcode", "20457"),
        ("city", "Hamburg"),
        ("months_at_address-years", "7"),
        ("months_at_address-months", "6"),
    ],
    &[("employment", "employed"), ("yearly_income", "42 000")],
    &[("housing", "tenant"), ("repayment", "direct_debit")],
];

fn location(response: &Response) -> String {
    assert_eq!(response.status(), StatusCode::SEE_OTHER, "{}", response.url());
    response.headers()["location"].to_str().unwrap().to_owned()
}

async fn begin(app: &TestApp) -> Browser {
    let visitor = app.visitor();
    assert!(visitor.page("/apply").await.contains("Six short steps"));
    assert_eq!(location(&visitor.post_form("/apply", &[("keep", "yes")]).await), "/apply/1");
    visitor
}

/// Answers every step rightly.
async fn fill(visitor: &Browser) {
    for (index, answers) in ANSWERS.iter().enumerate() {
        let next = location(&visitor.post_form(&format!("/apply/{}", index + 1), answers).await);
        let expected = if index == 5 { "/apply/check".to_owned() } else { format!("/apply/{}", index + 2) };
        assert_eq!(next, expected);
    }
}

async fn kept(app: &TestApp) -> i64 {
    sqlx::query_scalar("select count(*) from applications").fetch_one(&app.db).await.unwrap()
}

#[tokio::test]
async fn somebody_applies_step_by_step_and_has_an_answer() {
    let app = spawn().await;
    let visitor = begin(&app).await;
    assert!(visitor.page("/apply/3").await.contains("Step 3 of 6"));
    fill(&visitor).await;
    let check = visitor.page("/apply/check").await;
    for answer in [
        "€8,000.00",
        "36 months",
        "A car",
        "Ada Byron",
        "27 March 1985",
        "7 years and 6 months",
        "€42,000.00",
        "Tenant",
    ] {
        assert!(check.contains(answer), "{answer} is not on the check page");
    }
    assert!(check.contains("/apply/4?change=yes"));
    let place = location(&visitor.post_form("/apply/submit", &NOTHING).await);
    assert!(place.starts_with("/apply/status/"), "{place}");
    // The page opens without any cookie: its address is the key.
    let page = app.visitor().page(&place).await;
    assert!(
        page.contains("We have your application") && page.contains("What happens next") && page.contains("€8,000.00")
    );
    assert_eq!(app.visitor().get("/apply/status/guessed").await.status(), StatusCode::NOT_FOUND);
    let (factors, session): (serde_json::Value, serde_json::Value) =
        sqlx::query_as("select factors, session from applications").fetch_one(&app.db).await.unwrap();
    assert_eq!(factors["income"], 42_000.0);
    assert_eq!(factors["current_address_months_count"], 90.0);
    assert_eq!(factors["keep_alive_session"], 1.0);
    assert_eq!(factors["source"], "web");
    assert_eq!(session["device"].as_str().unwrap().len(), 64, "a hash of the device's mark");
    assert!(factors.get("landline").is_none() && factors.get("phone_home_valid").is_none());
}

#[tokio::test]
async fn what_is_wrong_is_named_and_what_was_typed_stays() {
    let app = spawn().await;
    let visitor = begin(&app).await;
    let refused = visitor.post_form("/apply/1", &[("amount", "eight"), ("term_months", "36")]).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = refused.text().await.unwrap();
    assert!(page.contains("2 things need another look") && page.contains("href=\"#amount\""));
    assert!(page.contains("value=\"eight\"") && page.contains("value=\"36\""), "typed answers stay");
    // The same answers are there when the applicant returns.
    assert!(visitor.page("/apply/1").await.contains("value=\"eight\""));
    // What is missing is asked for before anything is sent.
    assert_eq!(location(&visitor.post_form("/apply/submit", &NOTHING).await), "/apply/1");
    assert_eq!(location(&visitor.get("/apply/check").await), "/apply/1");
    let young =
        [("name", "Ada"), ("date_of_birth-day", "1"), ("date_of_birth-month", "1"), ("date_of_birth-year", "2015")];
    let refused = visitor.post_form("/apply/2", &young).await;
    assert!(refused.text().await.unwrap().contains("You must be at least 18 years old"));
    assert_eq!(kept(&app).await, 0);
}

#[tokio::test]
async fn an_answer_is_changed_from_the_check_page_and_leads_back_to_it() {
    let app = spawn().await;
    let visitor = begin(&app).await;
    fill(&visitor).await;
    assert!(visitor.page("/apply/1?change=yes").await.contains("Save and check again"));
    let changed = [("amount", "9500"), ("term_months", "48"), ("purpose", "home"), ("change", "yes")];
    assert_eq!(location(&visitor.post_form("/apply/1", &changed).await), "/apply/check");
    assert!(visitor.page("/apply/check").await.contains("€9,500.00"));
    assert!(visitor.page("/apply").await.contains("Go on where you left off"));
}

#[tokio::test]
async fn sent_twice_it_is_one_application_with_one_page() {
    let app = spawn().await;
    let visitor = begin(&app).await;
    fill(&visitor).await;
    let (first, second) =
        tokio::join!(visitor.post_form("/apply/submit", &NOTHING), visitor.post_form("/apply/submit", &NOTHING));
    let third = visitor.post_form("/apply/submit", &NOTHING).await;
    assert_eq!(location(&first), location(&second));
    assert_eq!(location(&first), location(&third));
    assert_eq!(kept(&app).await, 1);
    let assessed: i64 = sqlx::query_scalar("select count(*) from audit_entries where action = 'application.assessed'")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(assessed, 1);
    assert!(visitor.page("/apply").await.contains("See where it stands"));
    assert_eq!(location(&visitor.get("/apply/1").await), "/apply", "a sent application is not changed");
}

#[tokio::test]
async fn an_applicant_withdraws_before_the_decision_and_not_after() {
    let app = spawn().await;
    let visitor = begin(&app).await;
    fill(&visitor).await;
    let place = location(&visitor.post_form("/apply/submit", &NOTHING).await);
    let withdraw = format!("{place}/withdraw");
    assert_eq!(location(&visitor.post_form(&withdraw, &NOTHING).await), place);
    assert!(visitor.page(&place).await.contains("You withdrew this application"));
    assert_eq!(visitor.post_form(&withdraw, &NOTHING).await.status(), StatusCode::CONFLICT);
}
