//! Configuration: defaults, then `candor.toml`, then `CANDOR_*` variables. Every refusal names the key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use candor_engine::dialogue::saying::Tone;
use candor_engine::models::Device;
use serde::Deserialize;
use thiserror::Error;

use crate::generation::model_address;

/// What can be configured. See `candor.toml` in the documentation for one line about each.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port of the web server (`CANDOR_LISTEN`).
    pub listen: SocketAddr,
    /// The folder with all state of an embedded run (`CANDOR_HOME`).
    pub home: PathBuf,
    /// Postgres to use instead of the private one (`DATABASE_URL`).
    pub database_url: Option<String>,
    /// Redis, where several replicas share one address (`REDIS_URL`).
    pub redis_url: Option<String>,
    /// Connections to Postgres (`CANDOR_DATABASE_CONNECTIONS`).
    pub database_connections: u32,
    /// The address people and CRMs reach the program under; decides whether cookies are `Secure` (`CANDOR_PUBLIC_URL`).
    pub public_url: Option<String>,
    /// The bank's name as customers read it (`CANDOR_BANK_NAME`).
    pub bank_name: String,
    /// Key that signs access tokens; made and kept in the database when absent (`CANDOR_TOKEN_KEY`, at least 32 characters).
    pub token_key: Option<String>,
    /// A folder with weights instead of the ones in the binary (`CANDOR_WEIGHTS`).
    pub weights: Option<PathBuf>,
    /// SMTP server for letters, `smtp://user:password@host:port` (`CANDOR_SMTP_URL`).
    pub smtp_url: Option<String>,
    /// Sender of letters (`CANDOR_MAIL_FROM`).
    pub mail_from: String,
    /// Months for which decided applications are kept before they are erased (`CANDOR_RETENTION_MONTHS`).
    pub retention_months: u32,
    /// Minutes after which a silent customer is asked once more; 0 means never (`CANDOR_REMINDER_MINUTES`).
    pub reminder_minutes: u32,
    /// The consumer reporting agency whose score callers give as `credit_risk_score`: name, address and toll-free number as
    /// letters print them (`CANDOR_CREDIT_BUREAU`).
    pub credit_bureau: Option<String>,
    /// The range of that agency's scores, such as `300 to 850` (`CANDOR_CREDIT_BUREAU_RANGE`).
    pub credit_bureau_range: Option<String>,
    /// Requests a minute for one API client (`CANDOR_API_REQUESTS_PER_MINUTE`).
    pub api_requests_per_minute: u32,
    /// What the engine reads from disk, and which generative model it uses.
    pub engine: EngineConfig,
    /// Log as JSON lines (`CANDOR_LOG_JSON`).
    pub log_json: bool,
    /// What is logged: a level, or levels by part such as `info,candor=debug` (`CANDOR_LOG`).
    pub log: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            home: std::env::var_os("HOME")
                .map_or_else(|| PathBuf::from("candor-home"), |home| Path::new(&home).join(".local/share/candor")),
            database_url: None,
            redis_url: None,
            database_connections: 24,
            public_url: None,
            bank_name: "Harbour Bank".to_owned(),
            token_key: None,
            weights: None,
            smtp_url: None,
            mail_from: "letters@harbour.example".to_owned(),
            retention_months: 25,
            reminder_minutes: 3,
            credit_bureau: None,
            credit_bureau_range: None,
            api_requests_per_minute: 600,
            engine: EngineConfig::default(),
            log_json: false,
            log: "info,sqlx=warn,actix_server=warn,candor::requests=warn".to_owned(),
        }
    }
}

/// The table `[engine]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// A folder with the dialogue's flows instead of the ones in the binary; read again when a file in it changes
    /// (`CANDOR_ENGINE_FLOWS`).
    pub flows: Option<PathBuf>,
    /// A folder with the bank's own intents, as `candor train intents` writes it (`CANDOR_ENGINE_INTENTS`).
    pub intents: Option<PathBuf>,
    /// The generative model: a checkpoint folder, or the address of a server that speaks the OpenAI protocol, up to and
    /// with `/v1` (`CANDOR_ENGINE_MODEL`).
    pub model: Option<String>,
    /// The model's name: what the other server calls it, or what callers shall call the folder's (`CANDOR_ENGINE_MODEL_NAME`).
    pub model_name: Option<String>,
    /// The key for the other server (`CANDOR_ENGINE_API_KEY`).
    pub api_key: Option<String>,
    /// Memory for keys and values of a model in this process, in MiB (`CANDOR_ENGINE_CACHE_MIB`).
    pub cache_mib: usize,
    /// What computes a model in this process: the GPU where one can be used (`auto`), `cpu` or `cuda`
    /// (`CANDOR_ENGINE_DEVICE`).
    pub device: Device,
    /// In whose words the assistant speaks: the flows' own, or the model's where they pass the check (`CANDOR_ENGINE_SAY`).
    pub say: Say,
    /// How the model's words sound: plain, warm or brief (`CANDOR_ENGINE_TONE`).
    pub tone: Tone,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            flows: None,
            intents: None,
            model: None,
            model_name: None,
            api_key: None,
            cache_mib: 256,
            device: Device::Auto,
            say: Say::Flows,
            tone: Tone::Warm,
        }
    }
}

/// In whose words the assistant speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Say {
    /// The flows' own.
    Flows,
    /// The model's, checked.
    Generated,
}

/// A key that can not be used, and why.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is there but can not be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not valid: the message holds line and key.
    #[error("{path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and key.
        source: Box<toml::de::Error>,
    },
    /// A key or variable has a value that can not be used.
    #[error("{key}: {problem}")]
    Value {
        /// The key or variable.
        key: &'static str,
        /// What would be right.
        problem: String,
    },
}

impl Config {
    /// How long a customer may be silent before being asked once more; `None`: for ever.
    #[must_use]
    pub fn reminder(&self) -> Option<chrono::TimeDelta> {
        (self.reminder_minutes > 0).then(|| chrono::TimeDelta::minutes(i64::from(self.reminder_minutes)))
    }

    /// Reads `file` (or `candor.toml` where it exists), then the environment.
    ///
    /// # Errors
    /// The first key that can not be used, by name.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let default = Path::new("candor.toml");
        let mut config = match file {
            Some(path) => Self::from_file(path)?,
            None if default.exists() => Self::from_file(default)?,
            None => Self::default(),
        };
        config.apply(|key| std::env::var(key).ok().filter(|value| !value.is_empty()))?;
        config.validate()?;
        Ok(config)
    }

    fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    /// Applies variables found by `variable`.
    fn apply(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        fn parsed<T: std::str::FromStr>(key: &'static str, value: &str, right: &str) -> Result<T, ConfigError> {
            value.parse().map_err(|_| not(key, value, right))
        }
        fn not(key: &'static str, value: &str, right: &str) -> ConfigError {
            ConfigError::Value { key, problem: format!("{value:?} is not {right}") }
        }
        if let Some(value) = variable("CANDOR_LISTEN") {
            self.listen = parsed("CANDOR_LISTEN", &value, "an address and port such as 127.0.0.1:8080")?;
        }
        if let Some(value) = variable("CANDOR_HOME") {
            self.home = PathBuf::from(value);
        }
        if let Some(value) = variable("CANDOR_DATABASE_CONNECTIONS") {
            self.database_connections = parsed("CANDOR_DATABASE_CONNECTIONS", &value, "a number of connections")?;
        }
        if let Some(value) = variable("CANDOR_API_REQUESTS_PER_MINUTE") {
            self.api_requests_per_minute = parsed("CANDOR_API_REQUESTS_PER_MINUTE", &value, "a number of requests")?;
        }
        if let Some(value) = variable("CANDOR_RETENTION_MONTHS") {
            self.retention_months = parsed("CANDOR_RETENTION_MONTHS", &value, "a number of months")?;
        }
        if let Some(value) = variable("CANDOR_REMINDER_MINUTES") {
            self.reminder_minutes = parsed("CANDOR_REMINDER_MINUTES", &value, "a number of minutes")?;
        }
        if let Some(value) = variable("CANDOR_LOG_JSON") {
            self.log_json = parsed("CANDOR_LOG_JSON", &value, "true or false")?;
        }
        if let Some(value) = variable("CANDOR_ENGINE_CACHE_MIB") {
            self.engine.cache_mib = parsed("CANDOR_ENGINE_CACHE_MIB", &value, "a number of MiB")?;
        }
        if let Some(value) = variable("CANDOR_ENGINE_DEVICE") {
            self.engine.device = parsed("CANDOR_ENGINE_DEVICE", &value, "auto, cpu or cuda")?;
        }
        if let Some(value) = variable("CANDOR_ENGINE_SAY") {
            self.engine.say = match value.as_str() {
                "flows" => Say::Flows,
                "generated" => Say::Generated,
                _ => return Err(not("CANDOR_ENGINE_SAY", &value, "flows or generated")),
            };
        }
        if let Some(value) = variable("CANDOR_ENGINE_TONE") {
            self.engine.tone = match value.as_str() {
                "plain" => Tone::Plain,
                "warm" => Tone::Warm,
                "brief" => Tone::Brief,
                _ => return Err(not("CANDOR_ENGINE_TONE", &value, "plain, warm or brief")),
            };
        }
        for (key, field) in [
            ("CANDOR_ENGINE_MODEL", &mut self.engine.model),
            ("CANDOR_ENGINE_MODEL_NAME", &mut self.engine.model_name),
            ("CANDOR_ENGINE_API_KEY", &mut self.engine.api_key),
            ("DATABASE_URL", &mut self.database_url),
            ("REDIS_URL", &mut self.redis_url),
            ("CANDOR_PUBLIC_URL", &mut self.public_url),
            ("CANDOR_TOKEN_KEY", &mut self.token_key),
            ("CANDOR_SMTP_URL", &mut self.smtp_url),
            ("CANDOR_CREDIT_BUREAU", &mut self.credit_bureau),
            ("CANDOR_CREDIT_BUREAU_RANGE", &mut self.credit_bureau_range),
        ] {
            if let Some(value) = variable(key) {
                *field = Some(value);
            }
        }
        if let Some(value) = variable("CANDOR_WEIGHTS") {
            self.weights = Some(PathBuf::from(value));
        }
        if let Some(value) = variable("CANDOR_ENGINE_FLOWS") {
            self.engine.flows = Some(PathBuf::from(value));
        }
        if let Some(value) = variable("CANDOR_ENGINE_INTENTS") {
            self.engine.intents = Some(PathBuf::from(value));
        }
        if let Some(value) = variable("CANDOR_BANK_NAME") {
            self.bank_name = value;
        }
        if let Some(value) = variable("CANDOR_MAIL_FROM") {
            self.mail_from = value;
        }
        if let Some(value) = variable("CANDOR_LOG") {
            self.log = value;
        }
        Ok(())
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |key, problem: &str| Err(ConfigError::Value { key, problem: problem.to_owned() });
        if self.database_connections < 2 {
            return refuse("database_connections", "at least 2 connections are needed");
        }
        if self.retention_months < 25 {
            return refuse("retention_months", "must be at least 25: 12 CFR 1002.12(b)");
        }
        if self.api_requests_per_minute == 0 {
            return refuse("api_requests_per_minute", "must be at least 1");
        }
        if self.bank_name.trim().is_empty() {
            return refuse("bank_name", "must not be empty");
        }
        if self.engine.cache_mib == 0 {
            return refuse("engine.cache_mib", "must be at least 1");
        }
        if self.engine.tone == Tone::Sorry {
            return refuse("engine.tone", "must be plain, warm or brief");
        }
        if self.engine.model.as_ref().is_some_and(|model| model.contains("://") && model_address(model).is_none()) {
            return refuse("engine.model", "must be a folder, or an http:// or https:// address");
        }
        if tracing_subscriber::EnvFilter::try_new(&self.log).is_err() {
            return refuse("log", "must be levels such as info or info,candor=debug");
        }
        if self.token_key.as_ref().is_some_and(|key| key.len() < 32) {
            return refuse("token_key", "must have at least 32 characters");
        }
        for (key, value, schemes) in [
            ("database_url", &self.database_url, &["postgres", "postgresql"][..]),
            ("redis_url", &self.redis_url, &["redis", "rediss"][..]),
            ("public_url", &self.public_url, &["http", "https"][..]),
            ("smtp_url", &self.smtp_url, &["smtp", "smtps"][..]),
        ] {
            if let Some(value) = value {
                let right = url::Url::parse(value).is_ok_and(|url| schemes.contains(&url.scheme()));
                if !right {
                    return Err(ConfigError::Value {
                        key,
                        problem: format!("must be a {}:// address", schemes.join(":// or ")),
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether cookies must only travel over TLS.
    #[must_use]
    pub fn secure_cookies(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.starts_with("https://"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_refused_by_its_key() {
        let mut config = Config::default();
        let error = config.apply(|key| (key == "CANDOR_LISTEN").then(|| "somewhere".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "CANDOR_LISTEN: \"somewhere\" is not an address and port such as 127.0.0.1:8080");
        config.database_url = Some("mysql://localhost/x".to_owned());
        assert!(config.validate().unwrap_err().to_string().starts_with("database_url: must be a postgres://"));
    }

    fn is_setting(line: &str) -> bool {
        line.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
    }

    #[test]
    fn the_documented_file_names_every_key_with_its_default() {
        let text = include_str!("../../deploy/candor.toml");
        let settings: Vec<&str> = text
            .lines()
            // Tables stand as they are, their keys as the others'.
            .filter_map(|line| {
                if line.starts_with('[') { Some(line) } else { line.strip_prefix("# ").filter(|line| is_setting(line)) }
            })
            .collect();
        let documented: Config = toml::from_str(&settings.join("\n")).unwrap();
        documented.validate().unwrap();
        let defaults = Config::default();
        // Examples stand for what has no default or another one on each machine.
        let shown = Config {
            home: documented.home.clone(),
            database_url: documented.database_url.clone(),
            redis_url: documented.redis_url.clone(),
            public_url: documented.public_url.clone(),
            token_key: documented.token_key.clone(),
            weights: documented.weights.clone(),
            smtp_url: documented.smtp_url.clone(),
            engine: EngineConfig { cache_mib: EngineConfig::default().cache_mib, ..documented.engine.clone() },
            credit_bureau: documented.credit_bureau.clone(),
            credit_bureau_range: documented.credit_bureau_range.clone(),
            ..defaults
        };
        assert_eq!(format!("{documented:?}"), format!("{shown:?}"));
        let (mut keys, mut fields) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        let mut table = String::new();
        for line in &settings {
            match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some(name) => table = format!("{name}."),
                None => {
                    let key = line.split_once(" = ").unwrap().0;
                    keys.insert(format!("{table}{key}"));
                }
            }
        }
        // As printed: four spaces for a key, eight for one of a table.
        for line in format!("{shown:#?}").lines() {
            let depth = line.len() - line.trim_start().len();
            let Some((key, value)) = line.trim_start().split_once(": ") else { continue };
            let is_table = value.starts_with("EngineConfig");
            if depth == 4 {
                table = if is_table { format!("{key}.") } else { String::new() };
            }
            if (depth == 4 && !is_table) || (depth == 8 && !table.is_empty()) {
                fields.insert(format!("{table}{key}"));
            }
        }
        assert_eq!(keys, fields);
    }

    #[test]
    fn an_unknown_key_in_the_file_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("candor.toml");
        std::fs::write(&path, "bank_name = \"A\"\nlissten = \"x\"\n").unwrap();
        let error = Config::load(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("lissten"), "{error}");
    }
}
