//! The catalogue of coded reasons: data with a version, in English and Chinese. Postgres keeps every version that was ever
//! in use, so that what a code said on a day can be read for as long as the decisions that name it.

use std::sync::OnceLock;

use candor_engine::risk::{Catalogue as Factors, Role};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use sqlx::types::Json;

use crate::{AppError, Result};

use super::Coded;

/// A language of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Chinese, in simplified characters.
    Zh,
}

impl Language {
    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh",
        }
    }
}

/// A code of the catalogue with its Chinese text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shipped {
    code: String,
    label: String,
    text: String,
    zh: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Translation {
    code: String,
    zh: String,
    /// The factor's name, for the reasons that only name it.
    #[serde(default)]
    factor: String,
}

/// The reasons that only name a factor, in Chinese; `{factor}` stands for its name.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Naming {
    /// Its value was not known: codes ending in `-U`.
    unknown: String,
    /// Another value than the one that its own reason is true of: `-O`.
    another: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: i32,
    #[serde(rename = "reason")]
    reasons: Vec<Shipped>,
    #[serde(rename = "document")]
    documents: Vec<Shipped>,
    naming: Naming,
    #[serde(rename = "translation")]
    translations: Vec<Translation>,
}

/// One code as the catalogue's table has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Code.
    pub code: String,
    /// For officers.
    pub label: String,
    /// In English; `{value}` stands where the applicant's value is named.
    pub en: String,
    /// In Chinese; empty where the text is the bank's own.
    pub zh: String,
}

/// The catalogue that the program came with.
pub(super) struct Catalogue {
    pub(super) version: i32,
    pub(super) reasons: Vec<Coded>,
    pub(super) documents: Vec<Coded>,
    lines: Vec<Line>,
}

/// The catalogue that the program came with.
pub(super) fn shipped() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(|| {
        // The text is part of the program and a test reads it: an unreadable one never ships.
        let file: File = toml::from_str(include_str!("catalogue.toml")).unwrap_or_default();
        let coded = |one: &Shipped| Coded { code: one.code.clone(), label: one.label.clone(), text: one.text.clone() };
        let own = file.reasons.iter().chain(&file.documents).map(|one| Line {
            code: one.code.clone(),
            label: one.label.clone(),
            en: one.text.clone(),
            zh: one.zh.clone(),
        });
        let factors = Factors::shipped().factors().iter().filter(|factor| factor.role == Role::Input);
        let factors = factors.flat_map(|factor| {
            let own = (factor.code.clone(), factor.reason.clone());
            let all = std::iter::once(own).chain(factor.other_reasons());
            all.map(|(code, en)| Line { zh: file.in_chinese(&code), label: factor.label.clone(), code, en })
        });
        let rules = candor_engine::risk::Policy::shipped().map(|policy| policy.rules).unwrap_or_default();
        let rules = rules.into_iter().map(|rule| Line {
            zh: file.in_chinese(&rule.code),
            code: rule.code,
            label: rule.name,
            en: rule.text,
        });
        Catalogue {
            version: file.version,
            reasons: file.reasons.iter().map(coded).collect(),
            documents: file.documents.iter().map(coded).collect(),
            lines: own.chain(factors).chain(rules).collect(),
        }
    })
}

impl File {
    /// A code's text in Chinese; empty where there is none.
    fn in_chinese(&self, code: &str) -> String {
        let of = |code: &str| self.translations.iter().find(|one| one.code == code);
        let named = |code: &str, naming: &str| of(code).map(|one| naming.replace("{factor}", &one.factor));
        let text = of(code).map(|one| one.zh.clone());
        text.or_else(|| named(code.strip_suffix("-U")?, &self.naming.unknown))
            .or_else(|| named(code.strip_suffix("-O")?, &self.naming.another))
            .unwrap_or_default()
    }
}

impl Line {
    /// Whether `text` is this line's, with whatever value.
    fn says(&self, text: &str) -> bool {
        match self.en.split_once("{value}") {
            Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| rest.ends_with(after)),
            None => self.en == text,
        }
    }
}

impl Catalogue {
    /// A text in Chinese, where the catalogue has one that says the same as `english`.
    pub(super) fn chinese(&self, code: &str, english: &str) -> Option<&str> {
        let line = self.lines.iter().find(|line| line.code == code && line.says(english))?;
        Some(line.zh.as_str()).filter(|text| !text.is_empty())
    }
}

/// The version of the catalogue that is in use.
#[must_use]
pub fn version() -> i32 {
    shipped().version
}

/// A kept version of the catalogue.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its number.
    pub version: i32,
    /// SHA-256 over its lines as JSON.
    pub sha256: String,
    /// Every code.
    pub lines: Vec<Line>,
    /// Since when it is in use.
    pub installed_at: DateTime<Utc>,
}

/// Every version, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn versions(db: &PgPool) -> Result<Vec<Kept>> {
    let rows = sqlx::query!(
        r#"select version, sha256, body as "body: Json<Vec<Line>>", installed_at
           from reason_catalogues order by version desc"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Kept { version: row.version, sha256: row.sha256, lines: row.body.0, installed_at: row.installed_at })
        .collect())
}

/// Keeps the version that the program came with.
///
/// # Errors
/// When another catalogue was kept under the same version, or the database fails.
pub async fn install(db: &PgPool) -> Result<()> {
    let catalogue = shipped();
    let body = serde_json::to_vec(&catalogue.lines)?;
    let sha256 = hex::encode(Sha256::digest(&body));
    let done = sqlx::query!(
        "insert into reason_catalogues (version, sha256, body) values ($1, $2, $3) on conflict (version) do nothing",
        catalogue.version,
        sha256,
        serde_json::to_value(&catalogue.lines)?,
    )
    .execute(db)
    .await?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    let kept = sqlx::query_scalar!("select sha256 from reason_catalogues where version = $1", catalogue.version)
        .fetch_one(db)
        .await?;
    if kept == sha256 {
        return Ok(());
    }
    Err(AppError::Internal(format!(
        "the catalogue of reasons changed without a new version: {} is kept with other words",
        catalogue.version
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_line_in_both_languages() {
        let file: File = toml::from_str(include_str!("catalogue.toml")).unwrap();
        let catalogue = shipped();
        let mut codes: Vec<&str> = catalogue.lines.iter().map(|line| line.code.as_str()).collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all, "a code means one thing");
        for line in &catalogue.lines {
            let chinese = line.zh.chars().filter(|sign| ('\u{4e00}'..='\u{9fff}').contains(sign)).count();
            assert!(chinese >= 6 && line.zh.ends_with('。'), "{}: {:?}", line.code, line.zh);
        }
        for translation in &file.translations {
            assert!(codes.contains(&translation.code.as_str()), "{} translates nothing", translation.code);
            let is_factor = !translation.code.starts_with("R-");
            assert_eq!(is_factor, !translation.factor.is_empty(), "{}", translation.code);
        }
    }

    #[test]
    fn a_banks_own_words_are_not_translated_by_a_code_that_they_took_over() {
        let catalogue = shipped();
        assert!(catalogue.chinese("R-DEVICE-RING", "Something else.").is_none());
        assert!(catalogue.chinese("OFF-1", "We could not verify your identity.").is_some());
    }
}
