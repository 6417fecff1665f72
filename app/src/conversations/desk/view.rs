//! The desk's page: list, thread and person, each a template of its own, so that one can be read again alone.

use askama::Template;
use chrono::Utc;
use uuid::Uuid;

use crate::accounts::{Colleague, Person};
use crate::app::App;
use crate::conversations::{Conversation, Status};
use crate::live::conversation_topic;
use crate::live::presence::{Doing, Present};
use crate::pages::Frame;
use crate::{Result, bank};

use super::assignment;
use super::canned::{self, Canned};
use super::compose::{Draft, Origin};
use super::filter::{self, Filter, Query, Tab};
use super::inbox::{self, Inbox, PAGE, Row, VISITOR};
use super::person::{self, Records};
use super::stamp::Stamp;
use super::suggestion::{self, Suggestion};
use super::thread::{self, Thread};

/// The screen that a narrow window shows of the three panes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Screen {
    List,
    Thread,
    Person,
}

impl Screen {
    /// The name in the page's `data-screen`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Thread => "thread",
            Self::Person => "person",
        }
    }
}

/// What was just done or refused.
#[derive(Debug, Clone)]
pub(super) struct Notice {
    /// The class: `done` or `danger`.
    pub(super) kind: &'static str,
    pub(super) words: String,
    /// Whether it can be undone.
    pub(super) undo: bool,
}

impl Notice {
    /// A refusal.
    pub(super) fn refused(words: String) -> Self {
        Self { kind: "danger", words, undo: false }
    }

    /// The notice that an address asks for.
    pub(super) fn done(name: &str) -> Option<Self> {
        let words = match name {
            "resolved" => "Resolved.",
            "reopened" => "Open again, with you.",
            "handed-back" => "The AI assistant answers again.",
            "released" => "Released. It waits for a colleague.",
            "assigned" => "Assigned.",
            "drafted" => "Drafted as an article. A manager reads and publishes it.",
            "nobody-waits" => "Nobody is waiting for a person.",
            _ => return None,
        };
        Some(Self { kind: "done", words: words.to_owned(), undo: name == "resolved" })
    }
}

/// The whole page.
#[derive(Template)]
#[template(path = "desk/page.html")]
pub(super) struct Page {
    frame: Frame,
    screen: Screen,
    list: List,
    thread: Option<Open>,
    person: Option<Beside>,
    notice: Option<Notice>,
    /// The filter's query string, for links.
    query: String,
}

/// The list.
#[derive(Template)]
#[template(path = "desk/list.html")]
pub(super) struct List {
    filter: Filter,
    query: String,
    tabs: Vec<TabLink>,
    /// Conversations that wait for a person.
    unassigned: i64,
    inbox: Inbox,
    intents: Vec<(String, String)>,
    /// The number of the open conversation.
    open: Option<i64>,
    /// The conversations before and after the open one; at the ends and without one, the nearest.
    previous: Option<i64>,
    next: Option<i64>,
}

/// A tab as the list shows it.
struct TabLink {
    label: &'static str,
    query: String,
    count: i64,
    current: bool,
}

impl List {
    /// The address of this list with the open conversation, without its query.
    fn path(&self) -> String {
        self.open.map_or_else(|| "/desk".to_owned(), |number| format!("/desk/{number}"))
    }

    /// Whether the row is the open conversation.
    fn opens(&self, row: &Row) -> bool {
        self.open == Some(row.number)
    }

    fn first(&self) -> i64 {
        (self.filter.page - 1) * PAGE + 1
    }

    fn last(&self) -> i64 {
        self.inbox.total.min(self.filter.page * PAGE)
    }

    fn more(&self) -> bool {
        self.last() < self.inbox.total
    }
}

/// The open conversation.
#[derive(Template)]
#[template(path = "desk/thread.html")]
pub(super) struct Open {
    id: Uuid,
    number: i64,
    who: String,
    status: Status,
    channel: &'static str,
    waiting: Option<Stamp>,
    began: Stamp,
    /// Who has it.
    holder: Option<Colleague>,
    mine: bool,
    /// Until when it is held for the reader.
    held: Option<Stamp>,
    viewers: Vec<Viewer>,
    team: Vec<Colleague>,
    reader: Uuid,
    thread: Thread,
    suggestion: Option<Suggestion>,
    canned: Vec<Canned>,
    draft: Draft,
    /// Why the draft was refused.
    refused: Option<String>,
    key: Uuid,
    query: String,
}

impl Open {
    /// Whether a colleague has it.
    fn others(&self) -> bool {
        self.holder.is_some() && !self.mine
    }

    fn resolved(&self) -> bool {
        self.status == Status::Resolved
    }

    /// Whether the reader may reply: to their own, and to what nobody has.
    fn replies(&self) -> bool {
        !self.resolved() && !self.others()
    }

    /// Changes whenever the composer must change, and only then: what is typed stays otherwise.
    fn composer_state(&self) -> String {
        format!("{}:{}:{}", self.number, self.status.as_str(), self.holder.as_ref().map_or("", |h| h.name.as_str()))
    }
}

/// Somebody else who has the conversation open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Viewer {
    pub(super) name: String,
    pub(super) initials: String,
    pub(super) replying: bool,
}

/// The customer beside the thread.
#[derive(Template)]
#[template(path = "desk/person.html")]
pub(super) struct Beside {
    number: i64,
    who: String,
    records: Records,
    query: String,
}

/// What to build a page from.
pub(super) struct Request<'r> {
    pub(super) app: &'r App,
    pub(super) person: &'r Person,
    pub(super) query: &'r Query,
    pub(super) filter: Filter,
    /// The open conversation.
    pub(super) open: Option<&'r Conversation>,
}

impl Request<'_> {
    /// The list.
    pub(super) async fn list(&self) -> Result<List> {
        let app = self.app;
        let mut inbox = inbox::list(&app.db, &self.filter, self.person.id).await?;
        let places: Vec<String> = inbox.rows.iter().map(|row| conversation_topic(row.id)).collect();
        for (row, present) in inbox.rows.iter_mut().zip(app.presence.at(&places).await) {
            row.viewers = viewers(present, self.person.id);
        }
        let open = self.open.map(|conversation| conversation.number);
        let at = open.and_then(|open| inbox.rows.iter().position(|row| row.number == open));
        let number = |index: Option<usize>| index.and_then(|index| inbox.rows.get(index)).map(|row| row.number);
        let last = inbox.rows.len().saturating_sub(1);
        let previous = number(Some(at.map_or(0, |at| at.saturating_sub(1))));
        let next = number(Some(at.map_or(0, |at| (at + 1).min(last))));
        let counts = inbox::counts(&app.db, self.person.id).await?;
        let tab = |tab: Tab| TabLink {
            label: tab.label(),
            query: self.filter.on(tab).query(),
            count: counts.of(tab),
            current: tab == self.filter.tab,
        };
        Ok(List {
            query: self.filter.query(),
            tabs: Tab::ALL.into_iter().map(tab).collect(),
            unassigned: counts.of(Tab::Unassigned),
            intents: inbox::intents(&app.db).await?,
            filter: self.filter.clone(),
            inbox,
            open,
            previous,
            next,
        })
    }

    /// The thread of the open conversation. Whoever reads it is seen by colleagues.
    pub(super) async fn thread(&self, conversation: &Conversation, draft: Option<(Draft, String)>) -> Result<Open> {
        let (app, now) = (self.app, Utc::now());
        let who = self.who(conversation).await?;
        let thread = thread::read(&app.db, conversation, &who, self.query.from == "start").await?;
        let holder = thread::holder(conversation, now);
        let mine = holder == Some(self.person.id);
        let team = assignment::team(app).await?;
        let replies = conversation.status != Status::Resolved && (holder.is_none() || mine);
        let suggestion = match thread.question.as_ref().filter(|_| replies) {
            Some(question) => suggestion::suggest(app, conversation, question).await,
            None => None,
        };
        let known = conversation.customer_id.map(|_| who.as_str());
        let canned: Vec<Canned> = canned::all(&app.db)
            .await?
            .into_iter()
            .map(|canned| Canned { text: canned::fill(&canned.text, known, &self.person.name), ..canned })
            .collect();
        let (draft, refused) = match draft {
            Some((draft, refused)) => (draft, Some(refused)),
            None => (self.prefilled(&canned, suggestion.as_ref()), None),
        };
        let place = conversation_topic(conversation.id);
        let present = app.presence.at(&[place]).await.into_iter().flatten().collect();
        Ok(Open {
            id: conversation.id,
            number: conversation.number,
            who,
            status: conversation.status,
            channel: filter::channel_label(conversation.channel),
            waiting: conversation.waiting_since.map(|since| Stamp::new(since, now)),
            began: Stamp::new(conversation.created_at, now),
            holder: team.iter().find(|colleague| Some(colleague.id) == holder).cloned(),
            mine,
            held: conversation
                .assignee_hold_until
                .filter(|_| mine && conversation.status == Status::Waiting)
                .map(|until| Stamp::new(until, now)),
            viewers: viewers(present, self.person.id),
            team,
            reader: self.person.id,
            thread,
            suggestion,
            canned,
            draft,
            refused,
            key: Uuid::now_v7(),
            query: self.filter.query(),
        })
    }

    /// The customer of the open conversation.
    pub(super) async fn beside(&self, conversation: &Conversation) -> Result<Beside> {
        let who = self.who(conversation).await?;
        let readings = thread::read(&self.app.db, conversation, &who, false).await?.readings;
        Ok(Beside {
            number: conversation.number,
            records: person::read(self.app, conversation, &readings).await?,
            who,
            query: self.filter.query(),
        })
    }

    /// The whole page.
    pub(super) async fn page(
        &self,
        screen: Screen,
        notice: Option<Notice>,
        draft: Option<(Draft, String)>,
    ) -> Result<Page> {
        let (thread, person) = match self.open {
            Some(conversation) => {
                (Some(self.thread(conversation, draft).await?), Some(self.beside(conversation).await?))
            }
            None => (None, None),
        };
        let title = thread.as_ref().map_or_else(
            || format!("Desk: {}", self.filter.tab.label().to_lowercase()),
            |thread| format!("{} · {}", thread.who, thread.number),
        );
        Ok(Page {
            frame: Frame::staff(&self.app.config.bank_name, title, "desk", self.person),
            screen,
            list: self.list().await?,
            thread,
            person,
            notice,
            query: self.filter.query(),
        })
    }

    async fn who(&self, conversation: &Conversation) -> Result<String> {
        Ok(match conversation.customer_id {
            Some(customer) => bank::customer(&self.app.db, customer).await?.name,
            None => VISITOR.to_owned(),
        })
    }

    /// What a link put into the composer.
    fn prefilled(&self, canned: &[Canned], suggestion: Option<&Suggestion>) -> Draft {
        let origin = if self.query.insert == "suggestion" {
            suggestion.map(|suggestion| Origin {
                kind: suggestion.kind.to_owned(),
                source: suggestion.source.clone(),
                text: suggestion.text.clone(),
            })
        } else {
            canned.iter().find(|canned| canned.shortcut == self.query.canned).map(|canned| Origin {
                kind: "canned".to_owned(),
                source: canned.shortcut.clone(),
                text: canned.text.clone(),
            })
        };
        Draft {
            text: origin.as_ref().map_or_else(String::new, |origin| origin.text.clone()),
            origin,
            ..Draft::default()
        }
    }
}

/// Everybody present but the reader.
fn viewers(present: Vec<Present>, reader: Uuid) -> Vec<Viewer> {
    present
        .into_iter()
        .filter(|present| present.person != reader)
        .map(|present| Viewer {
            initials: present.name.split_whitespace().filter_map(|word| word.chars().next()).take(2).collect(),
            name: present.name,
            replying: present.doing == Doing::Replying,
        })
        .collect()
}
