//! Who is signed in, and what the role allows.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::App;
use crate::audit::Actor;
use crate::{AppError, Result};

use super::session;

/// What somebody does at the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Role {
    /// Talks with customers.
    Agent,
    /// Decides applications.
    Officer,
    /// Decides applications and seconds others' decisions.
    SeniorOfficer,
    /// Reads everything, changes nothing.
    Auditor,
    /// Keeps policies, articles, people and API clients.
    Manager,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Agent, Self::Officer, Self::SeniorOfficer, Self::Auditor, Self::Manager];

    /// As stored and sent in forms.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Officer => "officer",
            Self::SeniorOfficer => "senior_officer",
            Self::Auditor => "auditor",
            Self::Manager => "manager",
        }
    }

    /// What the role does, in a few words.
    #[must_use]
    pub fn does(self) -> &'static str {
        match self {
            Self::Agent => "talks with customers",
            Self::Officer => "decides applications",
            Self::SeniorOfficer => "decides applications and seconds others' decisions",
            Self::Auditor => "reads everything, changes nothing",
            Self::Manager => "keeps policies, articles, people and API clients",
        }
    }

    /// The role in words.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Agent => "Agent",
            Self::Officer => "Credit officer",
            Self::SeniorOfficer => "Senior credit officer",
            Self::Auditor => "Auditor",
            Self::Manager => "Manager",
        }
    }

    /// The page this role starts on.
    #[must_use]
    pub fn home(self) -> &'static str {
        match self {
            Self::Agent => "/desk",
            Self::Officer | Self::SeniorOfficer => "/credit",
            Self::Auditor => "/audit",
            Self::Manager => "/manage",
        }
    }

    /// May read and answer conversations.
    #[must_use]
    pub fn works_desk(self) -> bool {
        matches!(self, Self::Agent | Self::Manager)
    }

    /// May decide applications.
    #[must_use]
    pub fn decides_credit(self) -> bool {
        matches!(self, Self::Officer | Self::SeniorOfficer)
    }

    /// May look at applications.
    #[must_use]
    pub fn reads_credit(self) -> bool {
        matches!(self, Self::Officer | Self::SeniorOfficer | Self::Auditor | Self::Manager)
    }

    /// May read the audit log.
    #[must_use]
    pub fn reads_audit(self) -> bool {
        matches!(self, Self::Auditor | Self::Manager)
    }

    /// May change policies, people, articles and API clients.
    #[must_use]
    pub fn manages(self) -> bool {
        matches!(self, Self::Manager)
    }
}

/// The signed-in person; as a handler's argument it refuses everyone else.
#[derive(Debug, Clone)]
pub struct Person {
    /// Id.
    pub id: Uuid,
    /// Name as colleagues read it.
    pub name: String,
    /// Address used to sign in.
    pub email: String,
    /// Role.
    pub role: Role,
    /// The session this request came with.
    pub session_id: Uuid,
}

impl Person {
    /// Goes on only if `allowed` holds for the person's role.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] otherwise.
    pub fn require(&self, allowed: fn(Role) -> bool) -> Result<()> {
        if allowed(self.role) {
            return Ok(());
        }
        Err(AppError::Forbidden(format!("{} may not do this.", self.role.label())))
    }

    /// The first letters of the first and the last name, for the round mark beside a name.
    #[must_use]
    pub fn initials(&self) -> String {
        let mut words = self.name.split_whitespace();
        let first = words.next().and_then(|word| word.chars().next());
        let last = words.next_back().and_then(|word| word.chars().next());
        first.into_iter().chain(last).flat_map(char::to_uppercase).collect()
    }

    /// The person as the audit log names them.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::Person { id: self.id, name: self.name.clone() }
    }
}

impl FromRequest for Person {
    type Error = AppError;
    type Future = Pin<Box<dyn Future<Output = Result<Self>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let app = request.app_data::<web::Data<App>>().cloned();
        let token = request.cookie(session::SESSION_COOKIE).map(|cookie| cookie.value().to_owned());
        Box::pin(async move {
            let app = app.ok_or_else(|| AppError::Internal("the application state is missing".to_owned()))?;
            let token = token.ok_or(AppError::SignInNeeded)?;
            session::person(&app.db, &token).await?.ok_or(AppError::SignInNeeded)
        })
    }
}
