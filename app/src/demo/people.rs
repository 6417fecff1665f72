//! The bank's people in the demonstration: at least one per role, two where a second person is needed.

use uuid::Uuid;

use crate::accounts::{NewPerson, Person, Role, create_person};
use crate::app::App;
use crate::audit::Actor;
use crate::{AppError, Result};

/// Everybody's password.
pub const PASSWORD: &str = "candor-demo";

/// Who can sign in.
const SIGN_INS: &[(&str, &str, Role)] = &[
    ("Nora Adler", "agent@harbour.example", Role::Agent),
    ("Ben Castillo", "agent2@harbour.example", Role::Agent),
    ("Ruth Okonkwo", "officer@harbour.example", Role::Officer),
    ("Stefan Marek", "senior@harbour.example", Role::SeniorOfficer),
    ("Ilse Brandt", "auditor@harbour.example", Role::Auditor),
    ("Amara Diallo", "manager@harbour.example", Role::Manager),
    ("Paul Sorensen", "manager2@harbour.example", Role::Manager),
];

/// The sign-ins of the demonstration that are there and still active.
///
/// # Errors
/// When the database fails.
pub async fn sign_ins(app: &App) -> Result<Vec<(&'static str, Role)>> {
    let emails: Vec<String> = SIGN_INS.iter().map(|(_, email, _)| (*email).to_owned()).collect();
    // Only where this program filled the bank: other people may have the same addresses.
    let there = sqlx::query_scalar!(
        "select email from people
         where email = any($1) and active and exists (select from audit_entries where action = 'demonstration.begun')",
        &emails,
    )
    .fetch_all(&app.db)
    .await?;
    let known = SIGN_INS.iter().filter(|(_, email, _)| there.iter().any(|found| found == email));
    Ok(known.map(|(_, email, role)| (*email, *role)).collect())
}

/// Ready-made answers of the desk.
const CANNED: &[(&str, &str, &str)] = &[
    ("hello", "Greeting", "Hello, you are talking to a person now. I have read what you wrote; let me look into it."),
    (
        "wait",
        "One moment",
        "Thank you for waiting. I am checking this with a colleague and will be back within five minutes.",
    ),
    (
        "identify",
        "Who are you",
        "Before I open your records, please tell me your customer number, date of birth and postcode.",
    ),
    (
        "dispute",
        "Dispute opened",
        "I have opened a dispute for this payment. You will hear from us within ten working days.",
    ),
    ("call", "Offer a call", "Would you rather talk? I can call you on the number we have; tell me when it suits you."),
    (
        "goodbye",
        "Goodbye",
        "Is there anything else? If not, I will close this conversation. You can write again at any time.",
    ),
];

/// The people as other parts of the demonstration need them.
pub(super) struct Staff {
    pub(super) agents: Vec<Person>,
    pub(super) officer: Person,
    pub(super) senior: Person,
}

/// Adds everybody and the desk's ready-made answers.
pub(super) async fn fill(app: &App) -> Result<Staff> {
    let mut people = Vec::new();
    for (name, email, role) in SIGN_INS {
        let mut tx = app.db.begin().await?;
        let new = NewPerson { email, name, role: *role, password: PASSWORD };
        let id = create_person(&mut tx, &Actor::System, new).await?;
        tx.commit().await?;
        people.push(Person {
            id,
            name: (*name).to_owned(),
            email: (*email).to_owned(),
            role: *role,
            session_id: Uuid::nil(),
        });
    }
    for (shortcut, title, text) in CANNED {
        sqlx::query!(
            "insert into canned_responses (id, shortcut, title, text) values ($1, $2, $3, $4)",
            Uuid::now_v7(),
            shortcut,
            title,
            text,
        )
        .execute(&app.db)
        .await?;
    }
    let find = |role: Role| {
        people
            .iter()
            .find(|person| person.role == role)
            .cloned()
            .ok_or_else(|| AppError::Internal(format!("the demonstration has no {}", role.label())))
    };
    Ok(Staff {
        officer: find(Role::Officer)?,
        senior: find(Role::SeniorOfficer)?,
        agents: people.iter().filter(|person| person.role == Role::Agent).cloned().collect(),
    })
}
