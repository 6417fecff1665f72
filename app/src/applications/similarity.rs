//! How far a mail address resembles a name.

/// Providers that give a mailbox to everybody who asks.
const FREE_PROVIDERS: [&str; 34] = [
    "aol.com",
    "freenet.de",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hotmail.co.uk",
    "hotmail.com",
    "hotmail.de",
    "hotmail.fr",
    "icloud.com",
    "laposte.net",
    "libero.it",
    "live.com",
    "mail.com",
    "mail.ru",
    "me.com",
    "msn.com",
    "orange.fr",
    "outlook.com",
    "outlook.de",
    "proton.me",
    "protonmail.com",
    "t-online.de",
    "web.de",
    "wp.pl",
    "yahoo.co.uk",
    "yahoo.com",
    "yahoo.de",
    "yandex.ru",
    "zoho.com",
];

/// Whether the address is with a free provider; `None` when it is no address.
#[must_use]
pub(super) fn is_free_provider(email: &str) -> Option<bool> {
    let (_, domain) = email.trim().rsplit_once('@')?;
    let domain = domain.to_lowercase();
    // Reserved for examples (RFC 2606): the demonstration bank's customers have their mailboxes there.
    Some(FREE_PROVIDERS.contains(&domain.as_str()) || domain == "freemail.example")
}

/// 0 to 1: the best agreement of the part before the `@` with an ordering of the name's words, as the share of
/// letters in their longest common subsequence (twice its length over both lengths). `None` when either is empty.
#[must_use]
pub(super) fn name_and_email(name: &str, email: &str) -> Option<f64> {
    let (local, _) = email.trim().rsplit_once('@')?;
    let local = letters(local);
    let words: Vec<Vec<char>> = name.split_whitespace().map(letters).filter(|word| !word.is_empty()).collect();
    let (first, last) = (words.first()?, words.last()?);
    if local.is_empty() {
        return Some(0.0);
    }
    let initial: Vec<char> = first.iter().take(1).copied().collect();
    let mut forms = vec![words.concat(), last.clone(), first.clone()];
    if words.len() > 1 {
        forms.push([first.as_slice(), last.as_slice()].concat());
        forms.push([last.as_slice(), first.as_slice()].concat());
        forms.push([initial.as_slice(), last.as_slice()].concat());
    }
    forms.iter().map(|form| agreement(form, &local)).max_by(f64::total_cmp)
}

/// Lower-case letters, accents folded as people write them in addresses.
fn letters(text: &str) -> Vec<char> {
    let mut out = Vec::new();
    for letter in text.chars().flat_map(char::to_lowercase) {
        match letter {
            'ä' | 'æ' => out.extend(['a', 'e']),
            'ö' | 'ø' | 'œ' => out.extend(['o', 'e']),
            'ü' => out.extend(['u', 'e']),
            'ß' => out.extend(['s', 's']),
            'à' | 'á' | 'â' | 'ã' | 'å' => out.push('a'),
            'ç' => out.push('c'),
            'è' | 'é' | 'ê' | 'ë' => out.push('e'),
            'ì' | 'í' | 'î' | 'ï' => out.push('i'),
            'ñ' => out.push('n'),
            'ò' | 'ó' | 'ô' | 'õ' => out.push('o'),
            'ù' | 'ú' | 'û' => out.push('u'),
            'ł' => out.push('l'),
            _ if letter.is_alphabetic() => out.push(letter),
            _ => {}
        }
    }
    out.truncate(64);
    out
}

fn agreement(a: &[char], b: &[char]) -> f64 {
    // One row of the usual table: `row[j]` is the common length of what was read of `a` with the first j of `b`.
    let mut row = vec![0_u32; b.len() + 1];
    for left in a {
        let mut diagonal = 0;
        let mut before = 0;
        for (cell, right) in row.iter_mut().skip(1).zip(b) {
            let above = *cell;
            *cell = if left == right { diagonal + 1 } else { above.max(before) };
            diagonal = above;
            before = *cell;
        }
    }
    let common = f64::from(row.last().copied().unwrap_or(0));
    let both = f64::from(u32::try_from(a.len() + b.len()).unwrap_or(u32::MAX));
    if both == 0.0 { 0.0 } else { 2.0 * common / both }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_made_of_the_name_agree_and_others_do_not() {
        let like = |email: &str| name_and_email("Jörg van der Müller", email).unwrap();
        assert!(like("joerg.mueller@post.example") > 0.99);
        assert!(like("j.mueller84@post.example") > 0.99);
        assert!(like("mueller@post.example") > 0.99);
        assert!(like("xkq2211@post.example") < 0.2, "{}", like("xkq2211@post.example"));
        assert_eq!(like("2211@post.example"), 0.0);
        assert_eq!(name_and_email("", "a@b.c"), None);
        assert_eq!(name_and_email("Ada", "no address"), None);
    }

    #[test]
    fn free_providers_are_known_whatever_the_case() {
        assert_eq!(is_free_provider("a@GMail.com"), Some(true));
        assert_eq!(is_free_provider("a@harbour.example"), Some(false));
        assert_eq!(is_free_provider("a"), None);
    }
}
