//! What the page sends: as a form it is answered by a redirect to the page, to the script by JSON.

use actix_web::http::StatusCode;
use actix_web::http::header::ACCEPT;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::conversations::{
    Author, Conversation, PERSON_CHOICE, ResolvedBy, Satisfaction, Status, customer_says, store,
};
use crate::limits::{Quota, caller_address};
use crate::pages::{Refusals, see_other};
use crate::{AppError, Result};

use super::begin::{begin, current_or_new};
use super::page::{Refused, render};
use super::stream::shown_after;
use super::view::{MessageJson, Standing};
use super::visitor::Visitor;

/// Messages of one browser.
const MESSAGES: Quota = Quota::per_minute(30);
/// Messages from one address: many customers may share one.
const MESSAGES_OF_ADDRESS: Quota = Quota::per_minute(600);
/// "Is writing" of one browser.
const TYPING: Quota = Quota::per_minute(40);
/// Where the page is read on after a form was sent.
const END: &str = "/#end";
/// Longest key and longest value of a button that are taken, in bytes.
const KEY_BYTES: usize = 80;
const CHOICE_BYTES: usize = 400;

/// A message as the page sends it.
#[derive(Debug, Deserialize)]
pub(super) struct Say {
    #[serde(default)]
    text: String,
    /// Value of the button that was pressed.
    choice: Option<String>,
    /// The sender's own key of this message.
    client_key: Option<String>,
    /// The key of the form, where no script chose one.
    form_key: Option<String>,
}

impl Say {
    /// The key under which the message is kept once. A form's key is made one with the words: a page that the
    /// browser kept and shows again may send other words under its old key.
    fn key(&self) -> Option<String> {
        let usable = |key: &&String| {
            !key.is_empty() && key.len() <= KEY_BYTES && key.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if let Some(key) = self.client_key.as_ref().filter(usable) {
            return Some(key.clone());
        }
        let form = self.form_key.as_ref().filter(usable)?;
        let words = Sha256::digest(self.text.as_bytes());
        Some(format!("{form}-{}", hex::encode(words.get(..8).unwrap_or_default())))
    }
}

/// What the script gets.
#[derive(Serialize)]
struct Answer {
    number: i64,
    messages: Vec<MessageJson>,
    standing: Standing,
}

/// Whether the page's script asks.
fn by_script(request: &HttpRequest) -> bool {
    request
        .headers()
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"))
}

/// `POST /chat/messages`
pub(super) async fn say(app: web::Data<App>, request: HttpRequest, form: web::Form<Say>) -> Result<HttpResponse> {
    let visitor = Visitor::of(&request);
    let say = form.into_inner();
    match keep(&app, &request, &visitor, &say).await {
        Ok((conversation, seq)) => answer(&app, &request, &visitor, &conversation, seq - 1).await,
        Err(error) if by_script(&request) => Err(error),
        Err(AppError::Invalid(fields)) => {
            let refused = Refused { refusals: fields.into(), text: say.text, ..Refused::default() };
            render(&app, &visitor, refused, StatusCode::UNPROCESSABLE_ENTITY).await
        }
        Err(AppError::RateLimited { retry_after_s }) => {
            let mut refusals = Refusals::none();
            refusals.refuse("text", format!("That was fast. Please send this again in {retry_after_s} s."));
            let refused = Refused { refusals, text: say.text, ..Refused::default() };
            render(&app, &visitor, refused, StatusCode::TOO_MANY_REQUESTS).await
        }
        Err(error) => Err(error),
    }
}

/// Keeps the message and has it answered; the number under which it is kept.
async fn keep(app: &App, request: &HttpRequest, visitor: &Visitor, say: &Say) -> Result<(Conversation, i64)> {
    // Refused before anything is begun.
    crate::conversations::customer_text(&say.text)?;
    let choice = say.choice.clone().filter(|choice| !choice.is_empty());
    if choice.as_ref().is_some_and(|choice| choice.len() > CHOICE_BYTES) {
        return Err(AppError::BadRequest("This button is not one of ours.".to_owned()));
    }
    app.limits.take(&visitor.limit_key("message"), MESSAGES).await.check()?;
    if let Some(address) = caller_address(request) {
        app.limits.take(&format!("chat-address:{address}"), MESSAGES_OF_ADDRESS).await.check()?;
    }
    let conversation = current_or_new(app, visitor).await?;
    let said = customer_says(app, conversation.id, &say.text, say.key(), choice).await?;
    let seq = said.first().map_or(conversation.last_seq, |message| message.seq);
    Ok((conversation, seq))
}

/// To the script the messages after `seq`; to a form the way back to the page.
async fn answer(
    app: &App,
    request: &HttpRequest,
    visitor: &Visitor,
    conversation: &Conversation,
    seq: i64,
) -> Result<HttpResponse> {
    let mut answer = if by_script(request) {
        let now = store::find(&app.db, conversation.id).await?;
        let messages = shown_after(app, conversation.id, seq).await?;
        HttpResponse::Ok().json(Answer { number: now.number, messages, standing: Standing::of(&app.db, &now).await? })
    } else {
        see_other(END)
    };
    visitor.greet(&mut answer, app.config.secure_cookies())?;
    Ok(answer)
}

/// `POST /chat/person`: "Talk to a person", always in view.
pub(super) async fn person(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse> {
    let visitor = Visitor::of(&request);
    app.limits.take(&visitor.limit_key("message"), MESSAGES).await.check()?;
    let conversation = current_or_new(&app, &visitor).await?;
    let before = conversation.last_seq;
    // Asked again while one is asked or answers, nothing changes.
    if !matches!(conversation.status, Status::Waiting | Status::Agent) {
        let choice = Some(PERSON_CHOICE.to_owned());
        customer_says(&app, conversation.id, "Talk to a person", None, choice).await?;
    }
    answer(&app, &request, &visitor, &conversation, before).await
}

/// `POST /chat/typing`: the customer is writing. Only a script says so.
pub(super) async fn typing(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse> {
    if let Some(visitor) = Visitor::known(&request)
        && app.limits.take(&visitor.limit_key("typing"), TYPING).await.allowed
        && let Some(conversation) = store::find_by_visitor(&app.db, visitor.hash()).await?
    {
        store::announce_typing(&app.live, conversation.id, Author::Customer, "", true).await;
    }
    Ok(HttpResponse::NoContent().finish())
}

/// The browser's conversation, if it has one.
async fn own(app: &App, request: &HttpRequest) -> Result<(Visitor, Conversation)> {
    let visitor = Visitor::known(request).ok_or(AppError::NotFound("Your conversation"))?;
    let conversation =
        store::find_by_visitor(&app.db, visitor.hash()).await?.ok_or(AppError::NotFound("Your conversation"))?;
    Ok((visitor, conversation))
}

/// Ends a conversation for the customer.
async fn resolve(app: &App, conversation: &Conversation) -> Result<()> {
    let mut transaction = app.db.begin().await?;
    let locked = store::lock(&mut transaction, conversation.id).await?;
    if locked.status != Status::Resolved {
        store::resolve(&mut transaction, conversation.id, ResolvedBy::Customer).await?;
    }
    transaction.commit().await?;
    store::announce(&app.live, conversation.id, "status", json!({ "status": Status::Resolved })).await;
    Ok(())
}

/// `POST /chat/end`
pub(super) async fn end(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse> {
    let (visitor, conversation) = own(&app, &request).await?;
    resolve(&app, &conversation).await?;
    answer(&app, &request, &visitor, &conversation, conversation.last_seq).await
}

/// How it was.
#[derive(Debug, Deserialize)]
pub(super) struct SatisfactionForm {
    score: Option<String>,
    #[serde(default)]
    comment: String,
}

/// `POST /chat/satisfaction`
pub(super) async fn satisfaction(
    app: web::Data<App>,
    request: HttpRequest,
    form: web::Form<SatisfactionForm>,
) -> Result<HttpResponse> {
    let (visitor, conversation) = own(&app, &request).await?;
    let form = form.into_inner();
    let score = form.score.as_deref().and_then(|score| score.parse().ok()).unwrap_or(0);
    let said = Satisfaction { score, comment: form.comment.clone() };
    let mut transaction = app.db.begin().await?;
    match store::record_satisfaction(&mut transaction, conversation.id, &said).await {
        Ok(()) => transaction.commit().await?,
        Err(AppError::Invalid(fields)) if !by_script(&request) => {
            let refused = Refused { refusals: fields.into(), comment: form.comment, ..Refused::default() };
            return render(&app, &visitor, refused, StatusCode::UNPROCESSABLE_ENTITY).await;
        }
        Err(error) => return Err(error),
    }
    store::announce(&app.live, conversation.id, "satisfaction", json!({ "score": said.score })).await;
    answer(&app, &request, &visitor, &conversation, conversation.last_seq).await
}

/// `POST /chat/new`: ends what the assistant has, begins another conversation. One that waits for a person goes on at
/// the desk.
pub(super) async fn new(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse> {
    let visitor = Visitor::of(&request);
    app.limits.take(&visitor.limit_key("message"), MESSAGES).await.check()?;
    let before = store::find_by_visitor(&app.db, visitor.hash()).await?;
    if let Some(before) = &before
        && before.status == Status::Assistant
    {
        resolve(&app, before).await?;
    }
    let conversation = begin(&app, &visitor, before.map(|before| before.id)).await?;
    let mut answer =
        if by_script(&request) { answer(&app, &request, &visitor, &conversation, 0).await? } else { see_other("/") };
    visitor.greet(&mut answer, app.config.secure_cookies())?;
    Ok(answer)
}
