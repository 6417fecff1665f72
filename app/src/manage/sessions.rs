//! `/manage/sessions`: who is signed in.

use actix_web::{HttpResponse, web};
use askama::Template;
use uuid::Uuid;

use crate::Result;
use crate::accounts::{OpenSession, Person, Role, browser_words, end_session, open_sessions};
use crate::app::App;
use crate::pages::{self, Frame, Moment};

use super::Done;

#[derive(Template)]
#[template(path = "manage/sessions.html")]
struct ListPage {
    frame: Frame,
    tab: &'static str,
    sessions: Vec<Row>,
    done: &'static str,
}

struct Row {
    session: OpenSession,
    browser: String,
    started: Moment,
    expires: Moment,
    is_this: bool,
}

pub(super) async fn list(app: web::Data<App>, person: Person, done: web::Query<Done>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let sessions = open_sessions(&app.db)
        .await?
        .into_iter()
        .map(|session| Row {
            browser: browser_words(&session.user_agent),
            started: Moment(session.created_at),
            expires: Moment(session.expires_at),
            is_this: session.id == person.session_id,
            session,
        })
        .collect();
    pages::html(&ListPage {
        frame: Frame::staff(&app.config.bank_name, "Sessions", "manage", &person),
        tab: "sessions",
        sessions,
        done: if done.done == "ended" { "The session has ended." } else { "" },
    })
}

pub(super) async fn end(app: web::Data<App>, person: Person, id: web::Path<Uuid>) -> Result<HttpResponse> {
    person.require(Role::manages)?;
    let mut tx = app.db.begin().await?;
    end_session(&mut tx, &person.actor(), *id, None).await?;
    tx.commit().await?;
    Ok(pages::see_other("/manage/sessions?done=ended"))
}
