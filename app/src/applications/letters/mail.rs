//! The job that mails a letter.

use async_trait::async_trait;
use lettre::message::{Mailbox, MultiPart};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde::Deserialize;
use uuid::Uuid;

use crate::app::App;
use crate::jobs::{Failure, Handler, Job};

use super::super::application;
use super::store;

/// The kind of job.
pub(super) const JOB: &str = "letter.mail";

/// Mails letters through the configured server. A letter that was mailed is not mailed again.
pub struct MailLetter;

#[derive(Deserialize)]
struct Payload {
    letter: Uuid,
}

#[async_trait]
impl Handler for MailLetter {
    fn kind(&self) -> &'static str {
        JOB
    }

    async fn run(&self, app: &App, job: &Job) -> Result<(), Failure> {
        let Payload { letter } =
            serde_json::from_value(job.payload.clone()).map_err(|error| Failure::give_up(error.to_string()))?;
        let letter = store::find(&app.db, letter).await?;
        let Some(server) = app.config.smtp_url.as_deref().filter(|_| letter.mailed_at.is_none()) else {
            return Ok(());
        };
        let applicant = application::find(&app.db, letter.application_id).await?.applicant;
        let address = applicant.email.parse().map_err(|_| Failure::give_up("the applicant's address is malformed"))?;
        let from = app.config.mail_from.parse().map_err(|_| Failure::give_up("mail_from is malformed"))?;
        let page = format!("<!doctype html><html lang=\"en\"><body>{}</body></html>", letter.body_html);
        let message = Message::builder()
            .from(Mailbox::new(Some(app.config.bank_name.clone()), from))
            .to(Mailbox::new(Some(applicant.name), address))
            .subject(letter.subject)
            // The same for every try, so that a mail server can tell a repetition.
            .message_id(Some(format!("<{}@candor>", letter.id)))
            .multipart(MultiPart::alternative_plain_html(letter.body_text, page))
            .map_err(|error| Failure::give_up(error.to_string()))?;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(server)
            .map_err(|error| Failure::give_up(error.to_string()))?
            .build();
        transport.send(message).await.map_err(|error| {
            if error.is_permanent() { Failure::give_up(error.to_string()) } else { Failure::retry(error.to_string()) }
        })?;
        store::mailed(&app.db, letter.id, &applicant.email).await?;
        Ok(())
    }
}
