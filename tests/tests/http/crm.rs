//! The REST API as a CRM uses it.

use candor::crm::{SCOPES, create_client, document};
use candor_tests::{TestApp, spawn, spawn_with};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

/// A CRM with an access token.
struct Crm {
    http: Client,
    address: String,
    token: String,
}

impl Crm {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/api/v1{path}", self.address)).bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    async fn post(&self, path: &str, key: &str, body: &Value) -> Response {
        self.request(Method::POST, path).header("idempotency-key", key).json(body).send().await.unwrap()
    }
}

async fn credentials(app: &TestApp, scopes: &[&str]) -> (String, String) {
    let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let mut connection = app.db.acquire().await.unwrap();
    let client = create_client(&mut connection, "Test CRM", &scopes, None).await.unwrap();
    (client.client_id, client.secret)
}

async fn crm(app: &TestApp, scopes: &[&str]) -> Crm {
    let (id, secret) = credentials(app, scopes).await;
    let http = Client::new();
    let answer = http
        .post(app.url("/api/v1/oauth/token"))
        .basic_auth(id, Some(secret))
        .form(&[("grant_type", "client_credentials")])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let token: Value = answer.json().await.unwrap();
    Crm { http, address: app.address.clone(), token: token["access_token"].as_str().unwrap().to_owned() }
}

fn everything() -> Vec<&'static str> {
    SCOPES.iter().map(|(scope, _)| *scope).collect()
}

fn contact(external_id: &str) -> Value {
    json!({ "name": "Ada Byron", "email": "ada@example.org", "date_of_birth": "1990-05-01", "postcode": "10115",
            "external_id": external_id })
}

fn application() -> Value {
    json!({
        "applicant": { "name": "Ada Byron", "email": "ada.byron@example.org", "phone": "+49 151 2345678",
                       "date_of_birth": "1990-05-01", "street": "Quay Street 4", "city": "Port Ellery",
                       "postcode": "10115", "months_at_address": 40, "employment": "employed", "housing": "tenant",
                       "yearly_income_minor": 4_200_000 },
        "amount_minor": 900_000, "term_months": 36, "purpose": "car", "external_id": "crm-77"
    })
}

#[tokio::test]
async fn wrong_credentials_and_missing_tokens_are_refused() {
    let app = spawn().await;
    let http = Client::new();
    let (id, _) = credentials(&app, &["contacts:read"]).await;
    let answer = http
        .post(app.url("/api/v1/oauth/token"))
        .form(&[("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", "guess")])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.json::<Value>().await.unwrap()["error"], "invalid_client");

    let answer = http.get(app.url("/api/v1/contacts")).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn a_token_carries_only_its_scopes_and_dies_with_its_client() {
    let app = spawn().await;
    let crm = crm(&app, &["contacts:read"]).await;
    assert_eq!(crm.get("/contacts").await.status(), 200);
    let answer = crm.post("/contacts", "k", &contact("x")).await;
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("contacts:write"));
    sqlx::query("update api_clients set active = false").execute(&app.db).await.unwrap();
    assert_eq!(crm.get("/contacts").await.status(), 401);
}

#[tokio::test]
async fn a_post_sent_twice_is_done_once_and_answered_the_same() {
    let app = spawn().await;
    let crm = crm(&app, &everything()).await;
    let first = crm.post("/contacts", "one", &contact("c-1")).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let location = first.headers()["location"].clone();
    let first: Value = first.json().await.unwrap();
    let second = crm.post("/contacts", "one", &contact("c-1")).await;
    assert_eq!(second.status(), StatusCode::CREATED);
    assert_eq!(second.headers()["location"], location);
    assert_eq!(second.headers()["idempotency-replayed"], "true");
    assert_eq!(second.json::<Value>().await.unwrap(), first);
    let other = crm.post("/contacts", "one", &contact("c-2")).await;
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);

    // Sent ten times at once with a new key: still once.
    let crowd = futures::future::join_all((0..10).map(|_| async {
        crm.post("/contacts", "crowd", &contact("c-3")).await.json::<Value>().await.unwrap()["id"].clone()
    }))
    .await;
    assert!(crowd.iter().all(|id| *id == crowd[0]), "{crowd:?}");
    let kept: i64 = sqlx::query_scalar("select count(*) from customers").fetch_one(&app.db).await.unwrap();
    assert_eq!(kept, 2);
}

#[tokio::test]
async fn a_refused_post_names_its_fields_and_can_be_sent_again_with_the_same_key() {
    let app = spawn().await;
    let crm = crm(&app, &everything()).await;
    let mut body = contact("c-1");
    body["email"] = json!("nonsense");
    body["name"] = json!("");
    let answer = crm.post("/contacts", "k", &body).await;
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let problem: Value = answer.json().await.unwrap();
    let fields: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["email", "name"]);
    assert_eq!(crm.post("/contacts", "k", &contact("c-1")).await.status(), StatusCode::CREATED);
    assert_eq!(crm.post("/contacts", "k2", &contact("c-1")).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn lists_are_read_page_by_page_without_gaps() {
    let app = spawn().await;
    let crm = crm(&app, &everything()).await;
    for index in 0..5 {
        crm.post("/contacts", &format!("k{index}"), &contact(&format!("c-{index}"))).await;
    }
    let mut seen = Vec::new();
    let mut path = "/contacts?limit=2".to_owned();
    loop {
        let page: Value = crm.get(&path).await.json().await.unwrap();
        seen.extend(page["data"].as_array().unwrap().iter().map(|one| one["external_id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/contacts?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["c-4", "c-3", "c-2", "c-1", "c-0"]);
    let found: Value = crm.get("/contacts?external_id=c-3").await.json().await.unwrap();
    assert_eq!(found["data"].as_array().unwrap().len(), 1);
    assert_eq!(crm.get("/contacts?limit=0").await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(crm.get("/contacts?cursor=abc").await.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn an_application_is_scored_with_attributions_that_add_up() {
    let app = spawn().await;
    let crm = crm(&app, &everything()).await;
    let answer = crm.post("/applications", "a", &application()).await;
    assert_eq!(answer.status(), StatusCode::CREATED, "{}", answer.text().await.unwrap());
    let submitted: Value = crm.post("/applications", "a", &application()).await.json().await.unwrap();
    let id = submitted["application"]["id"].as_str().unwrap();
    let detail: Value = crm.get(&format!("/applications/{id}")).await.json().await.unwrap();
    let assessment = &detail["assessment"];
    let sum = assessment["attributions"]
        .as_array()
        .unwrap()
        .iter()
        .fold(assessment["baseline"].as_f64().unwrap(), |sum, one| sum + one["contribution"].as_f64().unwrap());
    assert!((sum - assessment["margin"].as_f64().unwrap()).abs() < 1e-9);
    assert!(detail["decision"].is_null());
    let again = crm.post("/applications", "b", &application()).await;
    assert_eq!(again.status(), StatusCode::CONFLICT);
    let mut wrong = application();
    wrong["applicant"]["phone"] = json!("x");
    wrong["external_id"] = json!("crm-78");
    assert_eq!(crm.post("/applications", "c", &wrong).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_message_is_answered_and_a_person_can_be_asked_for() {
    let app = spawn().await;
    let crm = crm(&app, &everything()).await;
    let started: Value =
        crm.post("/conversations", "s", &json!({ "text": "I lost my card" })).await.json().await.unwrap();
    let id = started["conversation"]["id"].as_str().unwrap();
    let messages = answered(&crm, id, 1).await;
    assert_eq!(messages[1]["author"], "assistant");
    assert!(messages[1]["action"]["type"].is_string());
    let handed: Value = crm.post(&format!("/conversations/{id}/hand-off"), "h", &json!({})).await.json().await.unwrap();
    assert_eq!(handed["status"], "waiting");
    let missing = crm.get("/conversations/0192f6a0-0000-7000-8000-000000000000").await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}

/// The conversation's messages once there are more than `count`.
async fn answered(crm: &Crm, id: &str, count: usize) -> Vec<Value> {
    for _ in 0..100 {
        let page: Value = crm.get(&format!("/conversations/{id}/messages")).await.json().await.unwrap();
        let messages = page["data"].as_array().unwrap();
        if messages.len() > count {
            return messages.clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("no answer came");
}

#[tokio::test]
async fn a_webhook_is_signed_tried_again_and_can_be_replayed() {
    use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
    use std::sync::{Arc, Mutex};

    type Seen = Arc<Mutex<Vec<(String, String, String, String)>>>;
    async fn receive(request: HttpRequest, body: String, seen: web::Data<Seen>) -> HttpResponse {
        let header = |name: &str| request.headers().get(name).unwrap().to_str().unwrap().to_owned();
        let mut seen = seen.lock().unwrap();
        seen.push((header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"), body));
        if seen.len() == 1 { HttpResponse::InternalServerError().finish() } else { HttpResponse::Ok().finish() }
    }
    let seen: Seen = Arc::default();
    let data = web::Data::new(seen.clone());
    let receiver = HttpServer::new(move || App::new().app_data(data.clone()).route("/hook", web::post().to(receive)))
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
    let port = receiver.addrs()[0].port();
    let receiver = receiver.run();
    let stop = receiver.handle();
    tokio::spawn(receiver);

    let app = spawn().await;
    let crm = crm(&app, &everything()).await;
    let hook = json!({ "url": format!("http://127.0.0.1:{port}/hook"), "events": ["application.submitted"] });
    let hook: Value = crm.post("/webhooks", "w", &hook).await.json().await.unwrap();
    let secret = hook["secret"].as_str().unwrap();
    crm.post("/applications", "a", &application()).await;
    // The first delivery is answered with an error; the queue's pause is cut short here.
    wait_for(&seen, 1).await;
    sqlx::query("update jobs set run_at = now() where kind = 'webhook' and finished_at is null")
        .execute(&app.db)
        .await
        .unwrap();
    wait_for(&seen, 2).await;
    let (id, stamp, signature, body) = seen.lock().unwrap()[1].clone();
    assert_eq!(seen.lock().unwrap()[0].0, id, "the id stays the same when tried again");
    assert_eq!(signature, expected_signature(secret, &id, &stamp, &body));
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["type"], "application.submitted");

    let webhook = hook["id"].as_str().unwrap();
    for _ in 0..50 {
        let delivered: Option<i64> =
            sqlx::query_scalar("select count(*) from webhook_deliveries where delivered_at is not null")
                .fetch_one(&app.db)
                .await
                .unwrap();
        if delivered == Some(1) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let replayed = crm.post(&format!("/webhooks/{webhook}/replay/{id}"), "r", &json!({})).await;
    assert_eq!(replayed.status(), StatusCode::ACCEPTED);
    wait_for(&seen, 3).await;
    let listed: Value = crm.get("/webhooks").await.json().await.unwrap();
    assert!(listed["data"][0].get("secret").is_none(), "the secret is shown once");
    stop.stop(false).await;
}

async fn wait_for<T>(seen: &std::sync::Mutex<Vec<T>>, count: usize) {
    for _ in 0..150 {
        if seen.lock().unwrap().len() >= count {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{count} deliveries did not come");
}

/// Standard Webhooks, written down a second time.
fn expected_signature(secret: &str, id: &str, stamp: &str, body: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use hmac::{Hmac, Mac};
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{stamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_back() {
    let app = spawn_with(|config| config.api_requests_per_minute = 4).await;
    let crm = crm(&app, &["contacts:read"]).await;
    let mut last = crm.get("/contacts").await;
    assert!(last.headers().contains_key("ratelimit-remaining"));
    for _ in 0..5 {
        last = crm.get("/contacts").await;
    }
    assert_eq!(last.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(last.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
}

#[tokio::test]
async fn texts_are_understood() {
    let app = spawn().await;
    let crm = crm(&app, &everything()).await;
    let body = json!({ "texts": ["I lost my card yesterday", "thank you, that was great"] });
    let answer: Value = crm.post("/understanding", "u", &body).await.json().await.unwrap();
    assert_eq!(answer["data"][0]["intent"], "block_card");
    assert_eq!(answer["data"][1]["sentiment"], "positive");
    assert_eq!(crm.post("/understanding", "v", &json!({ "texts": [] })).await.status(), 422);
}

/// A change of the API is a change of this file: look at the difference before accepting it.
#[test]
fn the_openapi_document_is_as_agreed() {
    insta::assert_json_snapshot!("openapi", document());
}
