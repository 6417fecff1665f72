//! What the customer sees of a conversation.

use askama::Template;
use candor_engine::dialogue::{Action, Choice, Citation, Receipt, SummaryCard};
use candor_engine::understanding::is_chinese;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::conversations::{Author, Conversation, Message, Status};
use crate::pages::Moment;
use crate::{Result, accounts};

/// A message as shown.
#[derive(Template)]
#[template(path = "chat/message.html")]
pub(super) struct MessageView {
    pub(super) seq: i64,
    pub(super) author: Author,
    /// Who wrote it, in words.
    name: String,
    text: String,
    at: DateTime<Utc>,
    choices: Vec<Choice>,
    summary: Option<SummaryCard>,
    citations: Vec<Citation>,
    receipt: Option<Receipt>,
}

impl MessageView {
    /// A stored message. Its buttons are offered only while nobody wrote after it.
    pub(super) fn new(message: &Message, offers: bool) -> Self {
        let mut view = Self {
            seq: message.seq,
            author: message.author,
            name: match message.author {
                Author::Customer => "You".to_owned(),
                Author::Assistant => "AI assistant".to_owned(),
                Author::Agent => message.person_name.clone().unwrap_or_else(|| "A colleague".to_owned()),
                Author::Note | Author::Event => String::new(),
            },
            text: message.text.clone(),
            at: message.created_at,
            choices: Vec::new(),
            summary: None,
            citations: Vec::new(),
            receipt: None,
        };
        if let Some(action) = message.action() {
            view.show(action, offers);
        }
        view
    }

    /// The assistant's first words, before anything is stored.
    pub(super) fn greeting(action: Action) -> Self {
        let mut view = Self {
            seq: 0,
            author: Author::Assistant,
            name: "AI assistant".to_owned(),
            text: action.text().to_owned(),
            at: Utc::now(),
            choices: Vec::new(),
            summary: None,
            citations: Vec::new(),
            receipt: None,
        };
        view.show(action, false);
        view
    }

    fn show(&mut self, action: Action, offers: bool) {
        if offers {
            self.choices = action.choices().to_vec();
        }
        match action {
            Action::Say { citations, .. } => self.citations = citations,
            Action::Ask { summary, .. } => {
                self.summary = summary;
                if let (Some(card), false) = (&mut self.summary, offers) {
                    card.rows.iter_mut().for_each(|row| row.change = None);
                }
            }
            Action::Act { receipt, .. } => self.receipt = Some(receipt),
            Action::HandOff { .. } => {}
        }
    }

    fn own(&self) -> bool {
        self.author == Author::Customer
    }

    fn event(&self) -> bool {
        self.author == Author::Event
    }

    /// Whether the words are Chinese, which readers that speak must be told.
    fn chinese(&self) -> bool {
        is_chinese(&self.text)
    }

    fn moment(&self) -> Moment {
        Moment(self.at)
    }
}

/// The messages as shown: buttons only under what the customer has not answered. The greeting's are the page's own.
pub(super) fn messages(messages: &[Message]) -> Vec<MessageView> {
    let answered = messages.iter().rev().find(|message| message.author == Author::Customer).map(|last| last.seq);
    let open = |message: &Message| answered.is_some_and(|answered| message.seq > answered);
    messages.iter().map(|message| MessageView::new(message, open(message))).collect()
}

/// A message for the script.
#[derive(Debug, Serialize)]
pub(super) struct MessageJson {
    seq: i64,
    author: Author,
    client_key: Option<String>,
    html: String,
}

impl MessageJson {
    /// The message with its HTML.
    pub(super) fn new(message: &Message, offers: bool) -> Result<Self> {
        Ok(Self {
            seq: message.seq,
            author: message.author,
            client_key: message.client_key.clone(),
            html: MessageView::new(message, offers).render()?,
        })
    }
}

/// Who answers, and whether it is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Standing {
    pub(super) status: Status,
    /// The same in a sentence.
    pub(super) words: String,
    /// A person was asked for or answers already.
    pub(super) with_person: bool,
    /// It has ended.
    pub(super) ended: bool,
    /// It has ended and the customer has not said how it was.
    pub(super) asks_satisfaction: bool,
}

impl Standing {
    /// Where a page without a conversation stands.
    pub(super) fn nothing_yet() -> Self {
        Self {
            status: Status::Assistant,
            words: ASSISTANT_ANSWERS.to_owned(),
            with_person: false,
            ended: false,
            asks_satisfaction: false,
        }
    }

    /// Where a conversation stands.
    pub(super) async fn of(db: &sqlx::PgPool, conversation: &Conversation) -> Result<Self> {
        let words = match (conversation.status, conversation.assignee_id) {
            (Status::Assistant, _) => ASSISTANT_ANSWERS.to_owned(),
            (Status::Waiting, _) => {
                "A colleague was asked and answers here. You can leave this page and come back.".to_owned()
            }
            (Status::Agent, Some(person)) => format!("{} answers you.", accounts::colleague(db, person).await?.name),
            (Status::Agent, None) => "A colleague answers you.".to_owned(),
            (Status::Resolved, _) => "This conversation has ended. Write again to open it.".to_owned(),
        };
        let ended = conversation.status == Status::Resolved;
        Ok(Self {
            status: conversation.status,
            words,
            with_person: matches!(conversation.status, Status::Waiting | Status::Agent),
            ended,
            asks_satisfaction: ended && conversation.csat.is_none(),
        })
    }
}

const ASSISTANT_ANSWERS: &str = "The AI assistant answers you.";
