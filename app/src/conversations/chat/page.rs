//! The page itself.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use candor_engine::dialogue::Choice;
use uuid::Uuid;

use crate::Result;
use crate::app::App;
use crate::conversations::{Author, Conversation, MAX_CUSTOMER_CHARS, PERSON_CHOICE, store};
use crate::pages::{Frame, Refusals};

use super::view::{MessageView, Standing, messages};
use super::visitor::Visitor;

#[derive(Template)]
#[template(path = "chat/page.html")]
struct ChatPage {
    frame: Frame,
    /// Makes a form that is sent twice one message.
    form_key: String,
    wishes: Vec<Choice>,
    messages: Vec<MessageView>,
    number: Option<i64>,
    last_seq: i64,
    standing: Standing,
    thanked: bool,
    refusals: Refusals,
    text: String,
    comment: String,
    most_chars: usize,
}

/// The commonest wishes: what the greeting offers. The button for a person is always in view anyway.
fn wishes(app: &App) -> Vec<Choice> {
    let greeting = app.engine.dialogue().greeting();
    greeting.choices().iter().filter(|choice| choice.value != PERSON_CHOICE).cloned().collect()
}

/// What was typed and refused, to be shown again.
#[derive(Default)]
pub(super) struct Refused {
    pub(super) refusals: Refusals,
    pub(super) text: String,
    pub(super) comment: String,
}

/// `GET /`
pub(super) async fn page(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse> {
    let visitor = Visitor::of(&request);
    render(&app, &visitor, Refused::default(), StatusCode::OK).await
}

/// The page with what was refused, if anything was.
pub(super) async fn render(app: &App, visitor: &Visitor, refused: Refused, status: StatusCode) -> Result<HttpResponse> {
    let conversation = store::find_by_visitor(&app.db, visitor.hash()).await?;
    let template = filled(app, conversation.as_ref(), refused).await?;
    let mut answer = HttpResponse::build(status)
        .content_type(ContentType::html())
        // The back button must not bring back a conversation of whoever used this browser before.
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(template.render()?);
    visitor.greet(&mut answer, app.config.secure_cookies())?;
    Ok(answer)
}

async fn filled(app: &App, conversation: Option<&Conversation>, refused: Refused) -> Result<ChatPage> {
    let (shown, standing) = match conversation {
        Some(conversation) => {
            let stored = store::customer_messages_after(&app.db, conversation.id, 0).await?;
            (messages(&stored), Standing::of(&app.db, conversation).await?)
        }
        None => (vec![MessageView::greeting(app.engine.dialogue().greeting())], Standing::nothing_yet()),
    };
    let begun = shown.iter().any(|message| message.author == Author::Customer);
    Ok(ChatPage {
        frame: Frame::public(&app.config.bank_name, "How can we help?"),
        form_key: Uuid::new_v4().simple().to_string(),
        wishes: if begun { Vec::new() } else { wishes(app) },
        last_seq: shown.last().map_or(0, |message| message.seq),
        messages: shown,
        number: conversation.map(|conversation| conversation.number),
        thanked: standing.ended && !standing.asks_satisfaction,
        standing,
        refusals: refused.refusals,
        text: refused.text,
        comment: refused.comment,
        most_chars: MAX_CUSTOMER_CHARS,
    })
}
