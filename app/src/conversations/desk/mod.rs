//! The desk: where agents find, read and answer conversations.
//!
//! Reading lives in [`inbox`], [`thread`] and [`person`]; what changes anything goes through [`assignment`] and
//! [`compose`], which write through the conversations' store. Every page works without a script: live updates, keys
//! and inserting are added by `static/desk.js`.

mod actions;
mod article;
mod assignment;
mod canned;
mod compose;
mod events;
mod filter;
mod inbox;
mod mood;
mod person;
mod stamp;
mod suggestion;
mod thread;
mod view;

use actix_web::{HttpResponse, web};

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::conversations::{Conversation, store};
use crate::live::conversation_topic;
use crate::live::presence::{Doing, Present};
use crate::{Result, pages};

use filter::{Filter, Query};
use view::{Notice, Request, Screen};

/// `/desk`
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/desk")
            .route("", web::get().to(inbox_page))
            .route("/events", web::get().to(events::stream))
            .route("/take-next", web::post().to(actions::take_next))
            .route(r"/{number:\d+}", web::get().to(thread_page))
            .route(r"/{number:\d+}/person", web::get().to(person_page))
            .route(r"/{number:\d+}/compose", web::post().to(actions::compose))
            .route(r"/{number:\d+}/presence", web::post().to(actions::presence))
            .route(r"/{number:\d+}/article", web::post().to(article::draft))
            .route(r"/{number:\d+}/{step}", web::post().to(actions::step)),
    );
}

/// `GET /desk`
async fn inbox_page(app: web::Data<App>, person: Person, query: web::Query<Query>) -> Result<HttpResponse> {
    show(&app, &person, &query, None, Screen::List).await
}

/// `GET /desk/{number}`
async fn thread_page(
    app: web::Data<App>,
    person: Person,
    number: web::Path<i64>,
    query: web::Query<Query>,
) -> Result<HttpResponse> {
    show(&app, &person, &query, Some(*number), Screen::Thread).await
}

/// `GET /desk/{number}/person`
async fn person_page(
    app: web::Data<App>,
    person: Person,
    number: web::Path<i64>,
    query: web::Query<Query>,
) -> Result<HttpResponse> {
    show(&app, &person, &query, Some(*number), Screen::Person).await
}

/// The page, or the part of it that the query asks for.
async fn show(app: &App, person: &Person, query: &Query, number: Option<i64>, screen: Screen) -> Result<HttpResponse> {
    person.require(Role::works_desk)?;
    let open = match number {
        Some(number) => Some(store::find_by_number(&app.db, number).await?),
        None => None,
    };
    let request = Request { app, person, query, filter: Filter::from(query), open: open.as_ref() };
    match (query.part.as_str(), open.as_ref()) {
        ("list", _) => pages::html(&request.list().await?),
        ("thread", Some(conversation)) => pages::html(&request.thread(conversation, None).await?),
        ("person", Some(conversation)) => pages::html(&request.beside(conversation).await?),
        _ => {
            if let Some(conversation) = &open {
                enter(app, person, conversation, Doing::Viewing).await;
            }
            pages::html(&request.page(screen, Notice::done(&query.done), None).await?)
        }
    }
}

/// Says that the person has the conversation open, and tells colleagues when that is new.
async fn enter(app: &App, person: &Person, conversation: &Conversation, doing: Doing) {
    let who = Present { person: person.id, name: person.name.clone(), doing };
    if app.presence.enter(&conversation_topic(conversation.id), who).await {
        tell_presence(app, conversation).await;
    }
}

/// Says that the person has the conversation open no longer.
async fn leave(app: &App, person: &Person, conversation: &Conversation) {
    app.presence.leave(&conversation_topic(conversation.id), person.id).await;
    tell_presence(app, conversation).await;
}

async fn tell_presence(app: &App, conversation: &Conversation) {
    store::announce(&app.live, conversation.id, "presence", serde_json::json!({})).await;
}
