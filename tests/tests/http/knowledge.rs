//! Articles: read, searched, cited, and gone when they are retired.

use candor::knowledge::{ArticleStatus, NewArticle, save};
use candor_tests::TestApp;
use serde_json::Value;

async fn keep(app: &TestApp, slug: &str, title: &str, body: &str, status: ArticleStatus) {
    let article = NewArticle { slug: slug.into(), title: title.into(), body: body.into(), tags: vec!["cards".into()] };
    let mut connection = app.db.acquire().await.unwrap();
    save(&mut connection, &app.state.engine, &article, status, None).await.unwrap();
}

/// Two articles that customers read and one that they do not.
async fn library(app: &TestApp) {
    let hours = "## Opening hours of our branches\n\nOur branches are open Monday to Friday from 9:00 to 17:00.";
    keep(app, "opening-hours", "Opening hours", hours, ArticleStatus::Published).await;
    let abroad = "Paying in euro is free everywhere.\n\n## Other currencies\n\nA card payment in another currency costs \
                  1.5 % of the amount. <script>alert(1)</script>";
    keep(app, "paying-abroad", "Paying abroad", abroad, ArticleStatus::Published).await;
    keep(app, "secret", "Opening hours next year", hours, ArticleStatus::Draft).await;
}

#[tokio::test]
async fn customers_read_what_is_published_and_nothing_else() {
    let app = candor_tests::spawn().await;
    let browser = app.visitor();
    assert!(browser.page("/help").await.contains("There are no articles yet"));
    library(&app).await;
    let list = browser.page("/help").await;
    assert!(list.contains("href=\"/help/paying-abroad\"") && !list.contains("next year"));
    let page = browser.page("/help/paying-abroad").await;
    assert!(page.contains("<h2>Other currencies</h2>") && !page.contains("alert(1)</script>"));
    assert_eq!(browser.get("/help/secret").await.status(), 404);
    assert_eq!(browser.get("/help/none").await.status(), 404);
}

#[tokio::test]
async fn a_question_finds_the_passage_and_a_change_is_seen_at_once() {
    let app = candor_tests::spawn().await;
    library(&app).await;
    let browser = app.visitor();
    let found = browser.page("/help?q=What+does+a+payment+in+another+currency+cost%3F").await;
    let first = found.split("<ul class=\"help-results\">").nth(1).unwrap().split("</li>").next().unwrap();
    assert!(first.contains("/help/paying-abroad") && first.contains("1.5 %"), "{first}");

    let body = "## Other currencies\n\nA card payment in another currency costs 2.5 % of the amount.";
    keep(&app, "paying-abroad", "Paying abroad", body, ArticleStatus::Published).await;
    let found = browser.page("/help?q=What+does+a+payment+in+another+currency+cost%3F").await;
    assert!(found.contains("2.5 %") && !found.contains("1.5 %"));
    keep(&app, "paying-abroad", "Paying abroad", body, ArticleStatus::Retired).await;
    let found = browser.page("/help?q=What+does+a+payment+in+another+currency+cost%3F").await;
    assert!(!found.contains("2.5 %"));
}

#[tokio::test]
async fn the_assistant_answers_from_an_article_and_cites_it() {
    let app = candor_tests::spawn().await;
    library(&app).await;
    let browser = app.visitor();
    browser.page("/").await;
    let response = browser
        .client
        .post(browser.url("/chat/messages"))
        .header("accept", "application/json")
        .form(&[("text", "What are the opening hours of your branches?")])
        .send()
        .await
        .unwrap();
    let answer: Value = response.json().await.unwrap();
    let html = answer["messages"][1]["html"].as_str().unwrap();
    assert!(html.contains("from 9:00 to 17:00"), "{html}");
    assert!(html.contains("<a href=\"/help/opening-hours\">Opening hours</a>"), "{html}");
    let (action, model): (Value, Option<String>) = sqlx::query_as(
        "select action, model_version from messages where author = 'assistant' order by seq desc limit 1",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!(action["citations"][0]["article_slug"], "opening-hours");
    assert!(model.is_some(), "the version of the model is kept with the answer");
}

#[tokio::test]
async fn an_article_that_can_not_be_used_is_refused_by_field() {
    let app = candor_tests::spawn().await;
    let mut connection = app.db.acquire().await.unwrap();
    for (slug, title, body, field) in
        [("Two words", "T", "B", "slug"), ("ok", " ", "B", "title"), ("ok", "T", " \n", "body")]
    {
        let article = NewArticle { slug: slug.into(), title: title.into(), body: body.into(), tags: Vec::new() };
        let error = save(&mut connection, &app.state.engine, &article, ArticleStatus::Draft, None).await.unwrap_err();
        assert_eq!(error.problem().errors[0].field, field);
    }
}
