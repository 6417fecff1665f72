//! Signing in and out, sessions, and who may ask.

use candor::accounts::Role;
use candor_tests::{Browser, PASSWORD, TestApp};

async fn try_sign_in(app: &TestApp, browser: &Browser, role: Role, password: &str, next: &str) -> reqwest::Response {
    let form = [("email", app.email(role)), ("password", password.to_owned()), ("next", next.to_owned())];
    browser.post_form("/sign-in", &form).await
}

fn location(response: &reqwest::Response) -> &str {
    response.headers()["location"].to_str().unwrap()
}

async fn actions(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("select action from audit_entries order by number").fetch_all(&app.db).await.unwrap()
}

#[tokio::test]
async fn the_right_password_opens_a_session_and_signing_out_ends_it() {
    let app = candor_tests::spawn().await;
    let browser = app.visitor();
    let asked = browser.get("/account").await;
    assert_eq!((asked.status().as_u16(), location(&asked)), (303, "/sign-in?next=%2Faccount"));

    let opened = try_sign_in(&app, &browser, Role::Auditor, PASSWORD, "/account").await;
    assert_eq!((opened.status().as_u16(), location(&opened)), (303, "/account"));
    let cookie = opened.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    assert!(browser.page("/account").await.contains("Test Auditor"));
    assert_eq!(location(&browser.get("/home").await), "/audit");

    let ended = browser.post_form("/sign-out", &[("", "")]).await;
    assert_eq!(location(&ended), "/sign-in");
    let token = cookie.split(';').next().unwrap();
    let stolen = browser.client.get(app.url("/account")).header("cookie", token).send().await.unwrap();
    assert_ne!(stolen.status(), 200, "the session is over for its old cookie, too");
    assert_eq!(actions(&app).await, ["session.started", "session.ended"]);
}

#[tokio::test]
async fn only_local_addresses_are_followed_after_sign_in() {
    let app = candor_tests::spawn().await;
    for next in ["https://evil.example/", "//evil.example", "/\\evil.example"] {
        let opened = try_sign_in(&app, &app.visitor(), Role::Agent, PASSWORD, next).await;
        assert_eq!(location(&opened), "/home", "{next}");
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_read_the_same() {
    let app = candor_tests::spawn().await;
    let wrong = try_sign_in(&app, &app.visitor(), Role::Agent, "not the password", "").await;
    assert_eq!(wrong.status(), 422);
    let wrong = wrong.text().await.unwrap();
    let form = [("email", "nobody@harbour.example"), ("password", "not the password")];
    let unknown = app.visitor().post_form("/sign-in", &form).await;
    assert_eq!(unknown.status(), 422);
    let unknown = unknown.text().await.unwrap().replace("nobody@harbour.example", "agent@harbour.example");
    assert_eq!(wrong, unknown);
    assert!(wrong.contains("The address or the password is not right."));
    assert!(!wrong.contains("not the password"), "a typed password is not sent back");
    assert_eq!(actions(&app).await, ["session.refused", "session.refused"]);
}

#[tokio::test]
async fn guessing_is_slowed_down_for_the_pair_of_address_and_email_only() {
    let app = candor_tests::spawn().await;
    let browser = app.visitor();
    for _ in 0..5 {
        assert_eq!(try_sign_in(&app, &browser, Role::Agent, "guess", "").await.status(), 422);
    }
    let slowed = try_sign_in(&app, &browser, Role::Agent, PASSWORD, "").await;
    assert_eq!(slowed.status(), 429, "even the right password waits");
    let wait: u64 = slowed.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    assert_eq!(try_sign_in(&app, &browser, Role::Officer, PASSWORD, "").await.status(), 303);

    sqlx::query("update sign_in_failures set last_at = last_at - interval '6 seconds'").execute(&app.db).await.unwrap();
    assert_eq!(try_sign_in(&app, &browser, Role::Agent, "guess", "").await.status(), 422);
    let slowed = try_sign_in(&app, &browser, Role::Agent, PASSWORD, "").await;
    let wait: u64 = slowed.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((6..=10).contains(&wait), "the wait doubles: {wait}");
}

#[tokio::test]
async fn a_post_from_another_site_is_refused() {
    let app = candor_tests::spawn().await;
    let manager = app.sign_in(Role::Manager).await;
    for (name, value) in
        [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.example")]
    {
        let sent = manager
            .client
            .post(manager.url("/sign-out"))
            .header("accept", "text/html")
            .header(name, value)
            .send()
            .await
            .unwrap();
        assert_eq!(sent.status(), 403, "{name}: {value}");
        assert!(sent.text().await.unwrap().contains("came from another site"));
    }
    assert_eq!(manager.get("/account").await.status(), 200);
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions() {
    let app = candor_tests::spawn().await;
    let (here, elsewhere) = (app.sign_in(Role::Agent).await, app.sign_in(Role::Agent).await);
    let refused =
        here.post_form("/account/password", &[("current", "wrong"), ("password", "short"), ("again", "short")]).await;
    assert_eq!(refused.status(), 422);
    let refused = refused.text().await.unwrap();
    assert!(refused.contains("2 things need another look") && refused.contains("href=\"#current\""), "{refused}");

    let form = [("current", PASSWORD), ("password", "a new long password"), ("again", "a new long password")];
    let changed = here.post_form("/account/password", &form).await;
    assert_eq!(location(&changed), "/account?done=password");
    assert_eq!(here.get("/account").await.status(), 200);
    assert_eq!(elsewhere.get("/account").await.status(), 303);
    let opened = try_sign_in(&app, &app.visitor(), Role::Agent, "a new long password", "").await;
    assert_eq!(opened.status(), 303);
}

#[tokio::test]
async fn nobody_ends_the_session_of_another_through_their_own_page() {
    let app = candor_tests::spawn().await;
    let (agent, auditor) = (app.sign_in(Role::Agent).await, app.sign_in(Role::Auditor).await);
    let session: uuid::Uuid = sqlx::query_scalar("select id from sessions where person_id = $1")
        .bind(auditor.person.unwrap())
        .fetch_one(&app.db)
        .await
        .unwrap();
    let path = format!("/account/sessions/{session}/end");
    assert_eq!(agent.post_form(&path, &[("", "")]).await.status(), 404);
    assert_eq!(auditor.get("/account").await.status(), 200);
    assert_eq!(auditor.post_form(&path, &[("", "")]).await.status(), 303);
    assert_eq!(auditor.get("/account").await.status(), 303);
}

#[tokio::test]
async fn each_role_opens_its_own_sections_only() {
    let app = candor_tests::spawn().await;
    for (role, section, status) in [
        (Role::Agent, "/audit", 403),
        (Role::Agent, "/manage", 403),
        (Role::Officer, "/audit", 403),
        (Role::Officer, "/manage/people", 403),
        (Role::Auditor, "/audit", 200),
        (Role::Auditor, "/manage/reports", 200),
        (Role::Auditor, "/manage/people", 403),
        (Role::Manager, "/audit", 200),
        (Role::Manager, "/manage", 200),
    ] {
        assert_eq!(app.sign_in(role).await.get(section).await.status().as_u16(), status, "{role:?} {section}");
    }
}
