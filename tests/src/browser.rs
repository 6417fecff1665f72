//! Somebody in front of a browser: a client with its own cookies that follows no redirect by itself.

use std::sync::Arc;

use reqwest::cookie::Jar;
use reqwest::{Client, Response, redirect};
use serde::Serialize;
use uuid::Uuid;

/// A client of the server under test.
#[derive(Clone)]
pub struct Browser {
    /// The client, for requests that need more than the methods here.
    pub client: Client,
    /// The address of the server, without a slash at the end.
    pub address: String,
    /// Who is signed in.
    pub person: Option<Uuid>,
}

impl Browser {
    pub(crate) fn new(address: &str, cookie: Option<(&str, &str)>, person: Option<Uuid>) -> Self {
        let jar = Arc::new(Jar::default());
        if let Some((name, value)) = cookie {
            jar.add_cookie_str(&format!("{name}={value}; Path=/; HttpOnly"), &address.parse().unwrap());
        }
        let client = Client::builder().cookie_provider(jar).redirect(redirect::Policy::none()).build().unwrap();
        Self { client, address: address.to_owned(), person }
    }

    /// The whole address of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// Asks for a page as a browser does.
    pub async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).header("accept", "text/html").send().await.unwrap()
    }

    /// Asks for a page that must be there, and gives its text.
    pub async fn page(&self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "GET {path}");
        response.text().await.unwrap()
    }

    /// Asks for JSON.
    pub async fn json(&self, path: &str) -> serde_json::Value {
        let response = self.client.get(self.url(path)).header("accept", "application/json").send().await.unwrap();
        assert_eq!(response.status(), 200, "GET {path}");
        response.json().await.unwrap()
    }

    /// Sends a form as a browser does from a page of the same site.
    pub async fn post_form(&self, path: &str, form: &(impl Serialize + ?Sized)) -> Response {
        self.client
            .post(self.url(path))
            .header("accept", "text/html")
            .header("origin", &self.address)
            .header("sec-fetch-site", "same-origin")
            .form(form)
            .send()
            .await
            .unwrap()
    }

    /// Sends JSON as a script of the same site does.
    pub async fn post_json(&self, path: &str, body: &(impl Serialize + ?Sized)) -> Response {
        self.client
            .post(self.url(path))
            .header("accept", "application/json")
            .header("origin", &self.address)
            .header("sec-fetch-site", "same-origin")
            .json(body)
            .send()
            .await
            .unwrap()
    }
}
