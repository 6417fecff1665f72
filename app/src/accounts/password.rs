//! Passwords: Argon2id, always off the request threads.

use std::sync::OnceLock;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{Error as HashError, PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::{AppError, Result};

/// The shortest password that is accepted, in characters.
pub const PASSWORD_MIN: usize = 10;
/// The longest: hashing takes the whole text, so its length is bounded.
const PASSWORD_MAX: usize = 200;

/// Why a new password can not be used, in a sentence; `None` when it can.
#[must_use]
pub fn password_problem(password: &str) -> Option<String> {
    match password.chars().count() {
        length if length < PASSWORD_MIN => Some(format!("Choose a password of at least {PASSWORD_MIN} characters.")),
        length if length > PASSWORD_MAX => Some(format!("Choose a password of at most {PASSWORD_MAX} characters.")),
        _ => None,
    }
}

/// A password to begin with: 16 letters and digits that can not be mistaken for each other, about 79 bits.
#[must_use]
pub fn first_password() -> String {
    use rand::seq::IndexedRandom;
    const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    let mut rng = rand::rng();
    let mut password = String::with_capacity(19);
    for place in 0..16 {
        if place > 0 && place % 4 == 0 {
            password.push('-');
        }
        password.extend(LETTERS.choose(&mut rng).copied().map(char::from));
    }
    password
}

/// 19 MiB, two passes, one lane: the OWASP minimum for Argon2id, about 25 ms of one core.
fn hasher() -> Result<Argon2<'static>> {
    let params = Params::new(19 * 1024, 2, 1, None).map_err(|error| AppError::Internal(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash_now(password: &str) -> Result<String> {
    let salt = SaltString::generate(&mut OsRng);
    let hash = hasher()?
        .hash_password(password.as_bytes(), &salt)
        .map_err(|error| AppError::Internal(format!("argon2: {error}")))?;
    Ok(hash.to_string())
}

/// Work on a thread that may block.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| AppError::Internal(error.to_string()))?
}

/// Hashes a password or a client secret for storage.
///
/// # Errors
/// When Argon2 fails, which it does only for want of memory.
pub async fn hash_password(password: &str) -> Result<String> {
    let password = password.to_owned();
    off_thread(move || hash_now(&password)).await
}

/// Whether `password` is the one behind `stored`. Without a stored hash the same work is done against another one,
/// so that the time taken does not tell whether somebody exists.
///
/// # Errors
/// When the stored hash can not be read.
pub async fn verify_password(password: &str, stored: Option<String>) -> Result<bool> {
    static NOBODY: OnceLock<String> = OnceLock::new();
    let password = password.to_owned();
    off_thread(move || {
        let known = stored.is_some();
        let stored = match (stored, NOBODY.get()) {
            (Some(stored), _) => stored,
            (None, Some(nobody)) => nobody.clone(),
            (None, None) => {
                let made = hash_now("nobody signs in with this")?;
                NOBODY.get_or_init(|| made).clone()
            }
        };
        let parsed = PasswordHash::new(&stored).map_err(|error| AppError::Internal(format!("argon2: {error}")))?;
        match hasher()?.verify_password(password.as_bytes(), &parsed) {
            Ok(()) => Ok(known),
            Err(HashError::Password) => Ok(false),
            Err(error) => Err(AppError::Internal(format!("argon2: {error}"))),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_somebody_passes() {
        let stored = hash_password("correct horse battery").await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verify_password("correct horse battery", Some(stored.clone())).await.unwrap());
        assert!(!verify_password("correct horse", Some(stored)).await.unwrap());
        assert!(!verify_password("nobody signs in with this", None).await.unwrap());
    }

    #[test]
    fn a_first_password_is_long_enough_and_never_the_same() {
        let made = first_password();
        assert_eq!(made.len(), 19, "{made}");
        assert!(password_problem(&made).is_none());
        assert_ne!(made, first_password());
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        assert!(password_problem("ninechars").is_some());
        assert!(password_problem("ääääääääää").is_none());
        assert!(password_problem(&"x".repeat(201)).is_some());
    }
}
