//! The queue as a page and as CSV.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde_json::json;

use crate::Result;
use crate::accounts::{Person, Role};
use crate::app::App;
use crate::audit::{self, Entry};
use crate::pages::{self, Frame, Moment, csv_file};

use super::super::{Channel, Status};
use super::percent::percent;
use super::queue::{self, Counts, Filter, Line, PAGE};

/// Lines of a CSV at most.
const MOST_LINES: i64 = 50_000;

#[derive(Template)]
#[template(path = "credit/queue.html")]
struct QueuePage {
    frame: Frame,
    filter: Filter,
    statuses: [Status; 7],
    channels: [Channel; 4],
    counts: Counts,
    rows: Vec<Row>,
    total: i64,
    shown: String,
    before: Option<String>,
    next: Option<String>,
}

struct Row {
    line: Line,
    probability: String,
    band: &'static str,
    proposal: &'static str,
    received: Moment,
    deadline: Moment,
    is_due: bool,
}

/// The queue.
pub(super) async fn page(app: web::Data<App>, person: Person, filter: web::Query<Filter>) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    let filter = filter.into_inner();
    let page = filter.page_number();
    let offset = (page - 1) * PAGE;
    let lines = queue::lines(&app.db, person.id, &filter, PAGE, offset).await?;
    let total = lines.first().map_or(0, |line| line.total);
    let here = i64::try_from(lines.len()).unwrap_or(0);
    let shown = if here == 0 { String::new() } else { format!("{} to {} of {total}", offset + 1, offset + here) };
    pages::html(&QueuePage {
        frame: Frame::staff(&app.config.bank_name, "Applications", "credit", &person),
        statuses: Status::ALL,
        channels: Channel::ALL,
        counts: queue::counts(&app.db).await?,
        before: (page > 1).then(|| filter.on_page(page - 1)),
        next: (offset + here < total).then(|| filter.on_page(page + 1)),
        rows: lines.into_iter().map(row).collect(),
        total,
        shown,
        filter,
    })
}

fn row(line: Line) -> Row {
    Row {
        probability: percent(line.probability),
        band: band_label(&line.band),
        proposal: match line.proposal.as_str() {
            "approve" => "Approve",
            "decline" => "Decline",
            _ => "Refer",
        },
        received: Moment(line.received_at),
        deadline: Moment(line.decide_by),
        is_due: line.status.is_open() && line.decide_by - chrono::Utc::now() < chrono::TimeDelta::days(7),
        line,
    }
}

fn band_label(band: &str) -> &'static str {
    match band {
        "low" => "Low",
        "medium" => "Medium",
        _ => "High",
    }
}

/// The filtered queue as CSV. A POST, because taking a copy is recorded.
pub(super) async fn export(app: web::Data<App>, person: Person, filter: web::Form<Filter>) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    let filter = filter.into_inner();
    let lines = queue::lines(&app.db, person.id, &filter, MOST_LINES, 0).await?;
    let mut transaction = app.db.begin().await?;
    let entry = Entry {
        actor: &person.actor(),
        action: "applications.exported",
        subject_kind: "queue",
        subject_id: "credit".to_owned(),
        details: json!({ "rows": lines.len(), "filter": filter.pairs().into_iter().collect::<std::collections::BTreeMap<_, _>>() }),
    };
    audit::append(&mut transaction, entry).await?;
    transaction.commit().await?;
    let header = [
        "number",
        "name",
        "email",
        "amount",
        "currency",
        "channel",
        "status",
        "band",
        "probability",
        "proposal",
        "received",
        "decide_by",
        "assignee",
    ];
    let rows = std::iter::once(header.map(str::to_owned).to_vec()).chain(lines.into_iter().map(|line| {
        vec![
            line.number.to_string(),
            line.name,
            line.email,
            format!("{}.{:02}", line.amount_minor / 100, line.amount_minor % 100),
            line.currency,
            line.channel.as_str().to_owned(),
            line.status.as_str().to_owned(),
            line.band,
            line.probability.to_string(),
            line.proposal,
            line.received_at.to_rfc3339(),
            line.decide_by.to_rfc3339(),
            line.assignee.unwrap_or_default(),
        ]
    }));
    csv_file("applications.csv", rows)
}
