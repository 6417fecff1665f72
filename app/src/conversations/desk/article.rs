//! An article drafted from a resolved conversation: the question as it was asked and the answer a person gave. It stays a
//! draft until a manager has read and published it.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::audit::{self, Entry};
use crate::conversations::{Author, Message, Status, store};
use crate::knowledge::{self, ArticleStatus, NewArticle};
use crate::{AppError, Result};

use super::actions::{StepForm, go_on};

/// Longest title taken from a question, in characters.
const TITLE: usize = 90;

/// `POST /desk/{number}/article`
pub(super) async fn draft(
    app: web::Data<App>,
    person: Person,
    number: web::Path<i64>,
    form: web::Form<StepForm>,
) -> Result<HttpResponse> {
    person.require(Role::works_desk)?;
    let conversation = store::find_by_number(&app.db, *number).await?;
    if conversation.status != Status::Resolved {
        return Err(AppError::Conflict("An article is drafted from a conversation that is resolved.".to_owned()));
    }
    let slug = format!("conversation-{number}");
    // Pressed twice, or drafted before: what a manager made of it is not written over.
    match knowledge::article(&app.db, &slug).await {
        Ok(_) => return Ok(go_on(Some(*number), &form.query, "drafted")),
        Err(AppError::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    let messages = store::messages_after(&app.db, conversation.id, 0).await?;
    let Some((title, body)) = from_messages(&messages) else {
        return Err(AppError::Conflict(
            "No person answered in this conversation, so there is nothing to draft.".to_owned(),
        ));
    };
    let article = NewArticle { slug, title, body, tags: vec!["drafted".to_owned()] };
    let mut transaction = app.db.begin().await?;
    let id = knowledge::save(&mut transaction, &app.engine, &article, ArticleStatus::Draft, Some(person.id)).await?;
    let entry = Entry {
        actor: &person.actor(),
        action: "article.drafted",
        subject_kind: "article",
        subject_id: id.to_string(),
        details: json!({ "slug": article.slug, "conversation": *number }),
    };
    audit::append(&mut transaction, entry).await?;
    transaction.commit().await?;
    Ok(go_on(Some(*number), &form.query, "drafted"))
}

/// Title and text from the last question before a person's first answer, and what people answered. None where no person
/// answered.
fn from_messages(messages: &[Message]) -> Option<(String, String)> {
    let first = messages.iter().position(|message| message.author == Author::Agent)?;
    let asked = messages.iter().take(first).rev().filter(|message| message.author == Author::Customer);
    let question = asked
        .clone()
        .find(|message| message.text.trim_end().ends_with('?'))
        .or_else(|| asked.clone().max_by_key(|message| message.text.len()))?;
    let question = without_particulars(question.text.trim());
    let answers: Vec<String> = messages
        .iter()
        .filter(|message| message.author == Author::Agent)
        .map(|message| without_particulars(message.text.trim()))
        .collect();
    let title: String = question.chars().take(TITLE).collect();
    Some((title, format!("## {question}\n\n{}\n", answers.join("\n\n"))))
}

/// The text without what belongs to one customer: addresses and numbers of four digits or more become a gap.
fn without_particulars(text: &str) -> String {
    let kept: Vec<&str> = text
        .split_whitespace()
        .map(|word| {
            let digits = word.chars().filter(char::is_ascii_digit).count();
            if word.contains('@') || digits >= 4 { "…" } else { word }
        })
        .collect();
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::without_particulars;

    #[test]
    fn particulars_of_one_customer_are_left_out() {
        let text = "My number is C-10023, write to anna@example.com within 14 days";
        assert_eq!(without_particulars(text), "My number is … write to … within 14 days");
    }
}
