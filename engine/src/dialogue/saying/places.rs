//! Values taken out of texts and put back: what a model writes holds places (`<money1>`), never a value itself, so no
//! number of a reply can be wrong.
//!
//! The same values get the same place everywhere in a prompt; places are numbered by kind in the order in which they are
//! met.

use std::fmt;

use crate::understanding::number_words;

/// Places of one kind that a model knows: `<money1>` to `<money9>`.
pub const PLACES: usize = 9;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An amount of money: `€1,250.00`, `15 euros`.
    Money,
    /// A day, with or without weekday and year, or a weekday alone: `Friday 20 November`.
    Date,
    /// A time of day: `16:00`.
    Time,
    /// A count, a share, any other number: `7`, `3.5 %`, `two`.
    Number,
    /// Digits or letters and digits that name something: `4821`, `C-10023`, `P-5001`.
    Code,
    /// Somebody's or something's name: `Maria Rossi`.
    Name,
    /// An email address.
    Email,
    /// A phone number.
    Phone,
    /// Words in quotation marks: `“it was stolen”`.
    Text,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Money,
        Self::Date,
        Self::Time,
        Self::Number,
        Self::Code,
        Self::Name,
        Self::Email,
        Self::Phone,
        Self::Text,
    ];

    /// The word in a place of this kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Money => "money",
            Self::Date => "date",
            Self::Time => "time",
            Self::Number => "number",
            Self::Code => "code",
            Self::Name => "name",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Text => "text",
        }
    }
}

/// Where a value stood: `<money1>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// What it is.
    pub kind: Kind,
    /// Which of its kind, from 1.
    pub number: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}{}>", self.kind.as_str(), self.number)
    }
}

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Words.
    Words(&'t str),
    /// A value.
    Value(Kind, &'t str),
}

/// The values of a prompt with their places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    values: Vec<(Place, String)>,
}

impl Places {
    /// The text with places instead of its values; values met for the first time are taken up.
    pub fn take_out(&mut self, text: &str) -> String {
        // A text that already looks like a place must not become one.
        let text = text.replace('<', "‹").replace('>', "›");
        pieces(&text)
            .into_iter()
            .map(|piece| match piece {
                Piece::Words(words) => words.to_owned(),
                Piece::Value(kind, value) => self.place(kind, value).to_string(),
            })
            .collect()
    }

    fn place(&mut self, kind: Kind, value: &str) -> Place {
        if let Some((place, _)) = self.values.iter().find(|(place, have)| place.kind == kind && have == value) {
            return *place;
        }
        let number = 1 + self.values.iter().filter(|(place, _)| place.kind == kind).count();
        let place = Place { kind, number };
        self.values.push((place, value.to_owned()));
        place
    }

    /// The value of a place.
    #[must_use]
    pub fn value(&self, place: Place) -> Option<&str> {
        self.values.iter().find(|(have, _)| *have == place).map(|(_, value)| value.as_str())
    }

    /// Whether there are more values of a kind than a model has places for.
    #[must_use]
    pub fn overflow(&self) -> bool {
        self.values.iter().any(|(place, _)| place.number > PLACES)
    }

    /// The text with the values back in their places; the first place that has none is the error.
    ///
    /// # Errors
    /// The place without a value.
    pub fn put_back(&self, text: &str) -> Result<String, Place> {
        let mut filled = String::with_capacity(text.len());
        for part in parts(text) {
            match part {
                Part::Words(words) => filled.push_str(words),
                Part::Place(place) => filled.push_str(self.value(place).ok_or(place)?),
            }
        }
        Ok(filled)
    }
}

/// A piece of a text with places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'t> {
    /// Words.
    Words(&'t str),
    /// A place.
    Place(Place),
}

/// Words and places of a text, in order.
#[must_use]
pub fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut words_from, mut at) = (0, 0);
    while let Some(open) = text.get(at..).and_then(|rest| rest.find('<')).map(|found| at + found) {
        let close = text.get(open..).and_then(|rest| rest.find('>')).map(|found| open + found);
        match close.and_then(|close| Some((close, place_of(text.get(open + 1..close)?)?))) {
            Some((close, place)) => {
                parts.push(Part::Words(text.get(words_from..open).unwrap_or_default()));
                parts.push(Part::Place(place));
                at = close + 1;
                words_from = at;
            }
            None => at = open + 1,
        }
    }
    parts.push(Part::Words(text.get(words_from..).unwrap_or_default()));
    parts.retain(|part| *part != Part::Words(""));
    parts
}

fn place_of(inside: &str) -> Option<Place> {
    let kind = Kind::ALL.into_iter().find(|kind| inside.starts_with(kind.as_str()))?;
    let number = inside.get(kind.as_str().len()..)?.parse().ok()?;
    (number > 0).then_some(Place { kind, number })
}

/// Words and values of a text, in order. Joined again they are the text.
#[must_use]
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut words_from, mut at) = (0, 0);
    while at < text.len() {
        let Some(rest) = text.get(at..) else {
            at += 1;
            continue;
        };
        let before = text.get(..at).unwrap_or_default();
        let starts_word = !before.chars().next_back().is_some_and(char::is_alphanumeric);
        match starts_word.then(|| value_at(before, rest)).flatten() {
            Some((kind, length)) => {
                pieces.push(Piece::Words(text.get(words_from..at).unwrap_or_default()));
                pieces.push(Piece::Value(kind, text.get(at..at + length).unwrap_or_default()));
                at += length;
                words_from = at;
            }
            None => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    pieces.push(Piece::Words(text.get(words_from..).unwrap_or_default()));
    pieces.retain(|piece| *piece != Piece::Words(""));
    pieces
}

/// The value that begins here, with its length in bytes.
fn value_at(before: &str, rest: &str) -> Option<(Kind, usize)> {
    let first = rest.chars().next()?;
    if first == '“' {
        let end = rest.find('”')? + '”'.len_utf8();
        return Some((Kind::Text, end));
    }
    if !(first.is_alphanumeric() || "€$£+-".contains(first)) {
        return None;
    }
    email(rest)
        .map(|length| (Kind::Email, length))
        .or_else(|| date(rest).map(|length| (Kind::Date, length)))
        .or_else(|| money(rest).map(|length| (Kind::Money, length)))
        .or_else(|| phone(rest).map(|length| (Kind::Phone, length)))
        .or_else(|| time(rest).map(|length| (Kind::Time, length)))
        .or_else(|| code(rest).map(|length| (Kind::Code, length)))
        .or_else(|| number(rest).map(|length| (Kind::Number, length)))
        .or_else(|| name(before, rest).map(|length| (Kind::Name, length)))
}

fn email(rest: &str) -> Option<usize> {
    let run = rest.find(|c: char| c.is_whitespace() || ",;:()<>“”\"".contains(c)).unwrap_or(rest.len());
    let run = rest.get(..run)?.trim_end_matches(['.', '!', '?', '\'']);
    let (user, host) = run.split_once('@')?;
    (!user.is_empty() && host.contains('.') && !host.contains('@')).then_some(run.len())
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// The first word, without what follows it.
fn word(rest: &str) -> &str {
    let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}

fn one_of(rest: &str, names: &[&str]) -> Option<usize> {
    let first = word(rest);
    names.iter().find(|name| first.eq_ignore_ascii_case(name)).map(|name| name.len())
}

/// Digits at the start: how many bytes.
fn digits(rest: &str) -> usize {
    rest.bytes().take_while(u8::is_ascii_digit).count()
}

fn year(rest: &str) -> usize {
    let spaces = rest.len() - rest.trim_start_matches([' ', ',']).len();
    let after = rest.get(spaces..).unwrap_or_default();
    let ends = |at: usize| !after.get(at..).and_then(|end| end.chars().next()).is_some_and(char::is_alphanumeric);
    if (1..=2).contains(&spaces) && digits(after) == 4 && ends(4) { spaces + 4 } else { 0 }
}

fn date(rest: &str) -> Option<usize> {
    let weekday = one_of(rest, &WEEKDAYS);
    if let Some(named) = weekday {
        let after = rest.get(named..)?;
        let gap = after.len() - after.trim_start_matches([' ', ',']).len();
        let day = after.get(gap..).and_then(|day| (gap > 0).then(|| day_and_month(day)).flatten());
        return Some(day.map_or(named, |day| named + gap + day));
    }
    day_and_month(rest).or_else(|| numeric_date(rest))
}

/// `14 March 1988`, `14th of March`, `March 14, 1988`.
fn day_and_month(rest: &str) -> Option<usize> {
    if let Some(month) = one_of(rest, &MONTHS) {
        // "May I …" and "March" alone are no dates.
        let after = rest.get(month..)?.strip_prefix(' ')?;
        let day = digits(after);
        if !(1..=2).contains(&day) {
            return (day == 4).then_some(month + 1 + day);
        }
        let day = day + ordinal(after.get(day..)?);
        return Some(month + 1 + day + year(after.get(day..)?));
    }
    let day = digits(rest);
    if !(1..=2).contains(&day) {
        return None;
    }
    let day = day + ordinal(rest.get(day..)?);
    let after = rest.get(day..)?;
    let gap = if after.starts_with(" of ") { 4 } else { usize::from(after.starts_with(' ')) };
    let month = one_of(after.get(gap..)?, &MONTHS).filter(|_| gap > 0)?;
    let end = day + gap + month;
    Some(end + year(rest.get(end..)?))
}

fn ordinal(rest: &str) -> usize {
    ["st", "nd", "rd", "th"].iter().find(|end| word(rest) == **end).map_or(0, |end| end.len())
}

/// `2026-11-23`, `14/03/1988`, `14.3.88`.
fn numeric_date(rest: &str) -> Option<usize> {
    let run = rest.bytes().take_while(|byte| byte.is_ascii_digit() || b"-/.".contains(byte)).count();
    let run = rest.get(..run)?.trim_end_matches(['-', '/', '.']);
    let parts: Vec<&str> = run.split(['-', '/', '.']).collect();
    let fits = match parts.as_slice() {
        [a, b, c] => {
            let length = [a.len(), b.len(), c.len()];
            let separators: Vec<char> = run.chars().filter(|c| !c.is_ascii_digit()).collect();
            separators.first() == separators.last()
                && (matches!(length, [4, 1 | 2, 1 | 2]) || matches!(length, [1 | 2, 1 | 2, 2 | 4]))
        }
        _ => false,
    };
    fits.then_some(run.len())
}

/// A number with groups and decimals: `1,250.00`, `3.5`.
fn figure(rest: &str) -> Option<usize> {
    let mut end = digits(rest);
    if end == 0 {
        return None;
    }
    loop {
        let after = rest.get(end..)?;
        let more = after.strip_prefix([',', '.']).map_or(0, digits);
        if more == 0 {
            return Some(end);
        }
        end += 1 + more;
    }
}

/// Words of currencies after an amount.
const CURRENCIES: [&str; 14] = [
    "euros", "euro", "eur", "cents", "cent", "pounds", "pound", "dollars", "dollar", "chf", "gbp", "usd", "pence",
    "francs",
];

fn money(rest: &str) -> Option<usize> {
    let sign = usize::from(rest.starts_with('-'));
    let unsigned = rest.get(sign..)?;
    if let Some(symbol) = unsigned.chars().next().filter(|c| "€£$".contains(*c)) {
        return Some(sign + symbol.len_utf8() + figure(unsigned.get(symbol.len_utf8()..)?)?);
    }
    let amount = figure(unsigned)?;
    let after = unsigned.get(amount..)?;
    let gap = usize::from(after.starts_with(' '));
    let next = after.get(gap..)?;
    if let Some(symbol) = next.chars().next().filter(|c| "€£$".contains(*c)) {
        return Some(sign + amount + gap + symbol.len_utf8());
    }
    one_of(next, &CURRENCIES).filter(|_| gap > 0 || amount > 0).map(|unit| sign + amount + gap + unit)
}

/// `+49 30 1234567`, `0151 12345678`.
fn phone(rest: &str) -> Option<usize> {
    let run = rest
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || " -/()".contains(*c) || (*at == 0 && *c == '+')))
        .map_or(rest.len(), |(at, _)| at);
    let run = rest.get(..run)?.trim_end_matches([' ', '-', '/', '(', ')']);
    let count = run.bytes().filter(u8::is_ascii_digit).count();
    let begins = run.starts_with('+') || (run.starts_with('0') && run.contains([' ', '/', '-']) || count >= 9);
    (begins && (7..=16).contains(&count)).then_some(run.len())
}

fn time(rest: &str) -> Option<usize> {
    let hours = digits(rest);
    let minutes = rest.get(hours..)?.strip_prefix(':')?;
    let end = hours + 3;
    let ends = !rest.get(end..).and_then(|end| end.chars().next()).is_some_and(|c| c.is_alphanumeric());
    ((1..=2).contains(&hours) && digits(minutes) == 2 && ends).then_some(end)
}

/// Digits of four or more, or letters and digits in one word: what names a card, an account, a case.
fn code(rest: &str) -> Option<usize> {
    let end =
        rest.char_indices().find(|(_, c)| !(c.is_ascii_alphanumeric() || *c == '-')).map_or(rest.len(), |(at, _)| at);
    let run = rest.get(..end)?.trim_end_matches('-');
    let count = run.bytes().filter(u8::is_ascii_digit).count();
    if count == 0 || rest.get(run.len()..)?.starts_with([',', '.']) && digits(rest.get(run.len() + 1..)?) > 0 {
        return None;
    }
    let mixed = run.bytes().any(|byte| byte.is_ascii_alphabetic());
    let names = if mixed { run.starts_with(|c: char| c.is_ascii_uppercase()) || count >= 3 } else { count >= 4 };
    names.then_some(run.len())
}

fn number(rest: &str) -> Option<usize> {
    let sign = usize::from(rest.starts_with('-'));
    if let Some(figure) = figure(rest.get(sign..)?) {
        let end = sign + figure;
        let after = rest.get(end..)?;
        let share = ["%", " %", " percent", " per cent"].iter().find(|share| after.starts_with(**share));
        return Some(end + share.map_or_else(|| ordinal(after), |share| share.len()));
    }
    // In words from two on: "one" is too often no number.
    let first = word(rest);
    number_words::value(&first.to_lowercase()).filter(|number| *number >= 2).map(|_| first.len())
}

/// Words that begin with a capital within a sentence and name nothing.
const NO_NAMES: [&str; 12] = ["I", "I'm", "I've", "I'd", "I'll", "OK", "PIN", "AI", "Yes", "No", "English", "SMS"];

/// A run of words with capitals that does not begin a sentence.
fn name(before: &str, rest: &str) -> Option<usize> {
    let said = before.trim_end_matches(['"', '(', '‘']).trim_end_matches(' ');
    let gap = before.len() - said.len();
    let within =
        !said.is_empty() && gap > 0 && said.ends_with(|c: char| c.is_alphanumeric() || ",)”\"%€'’".contains(c));
    // Lists: "Friday 20 November: Gymtopia"; elsewhere a colon begins a sentence.
    let listed = said.strip_suffix(':').filter(|_| gap > 0).and_then(|said| said.rsplit([' ', '\n']).next());
    let after_colon = listed.is_some_and(|last| {
        one_of(last, &MONTHS).or_else(|| one_of(last, &WEEKDAYS)).is_some()
            || last.ends_with(|c: char| c.is_ascii_digit())
    });
    if !(within || after_colon) {
        return None;
    }
    let mut end = 0;
    loop {
        let from = rest.get(end..)?;
        let gap = if end == 0 { 0 } else { usize::from(from.starts_with(' ')) };
        if end > 0 && gap == 0 {
            break;
        }
        let next = from.get(gap..)?;
        let length = next.find(|c: char| !(c.is_alphanumeric() || "'’-&".contains(c))).unwrap_or(next.len());
        let word = next.get(..length)?.trim_end_matches(['\'', '’', '-']);
        let capital = word.chars().next().is_some_and(char::is_uppercase);
        let taken = one_of(next, &MONTHS).or_else(|| one_of(next, &WEEKDAYS)).is_some();
        if !capital || NO_NAMES.contains(&word) || taken && end > 0 {
            break;
        }
        let own = word.strip_suffix("'s").or_else(|| word.strip_suffix("’s"));
        end += gap + own.map_or(word.len(), str::len);
        if own.is_some() {
            break;
        }
    }
    (end > 0).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(Kind, &str)> {
        let pieces = pieces(text);
        let joined: String = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Words(words) => *words,
                Piece::Value(_, value) => *value,
            })
            .collect();
        assert_eq!(joined, text);
        pieces
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Value(kind, value) => Some((kind, value)),
                Piece::Words(_) => None,
            })
            .collect()
    }

    #[test]
    fn values_of_every_kind_are_found() {
        use Kind::{Code, Date, Email, Money, Name, Number, Phone, Text, Time};
        assert_eq!(
            values("The transfer of €1,250.00 to Maria Rossi on Friday 20 November is on its way."),
            [(Money, "€1,250.00"), (Name, "Maria Rossi"), (Date, "Friday 20 November")]
        );
        assert_eq!(values("It was sent after 16:00. It costs 15 euros."), [(Time, "16:00"), (Money, "15 euros")]);
        assert_eq!(values("your card ending 4821"), [(Code, "4821")]);
        assert_eq!(values("I am C-10023"), [(Code, "C-10023")]);
        assert_eq!(values("within 7 working days, 3.5 % more"), [(Number, "7"), (Number, "3.5 %")]);
        assert_eq!(values("write to anna.weber@example.com."), [(Email, "anna.weber@example.com")]);
        assert_eq!(values("call +49 30 1234567 now"), [(Phone, "+49 30 1234567")]);
        assert_eq!(values("born 14/03/1988 or 1988-03-14"), [(Date, "14/03/1988"), (Date, "1988-03-14")]);
        assert_eq!(values("on March 14, 1988, the 3rd"), [(Date, "March 14, 1988"), (Number, "3rd")]);
        assert_eq!(values("You wrote “Where is it?”"), [(Text, "“Where is it?”")]);
        assert_eq!(values("May I ask you in two weeks"), [(Number, "two")]);
        assert_eq!(values("Friday: Gymtopia, -€59.99"), [(Date, "Friday"), (Name, "Gymtopia"), (Money, "-€59.99")]);
        assert_eq!(values("10,000 euros a day"), [(Money, "10,000 euros")]);
        assert_eq!(values("a loan of 5000 over 36 months"), [(Code, "5000"), (Number, "36")]);
        assert_eq!(values("I will. Then I pass you on."), []);
    }

    #[test]
    fn values_go_out_and_come_back() {
        let mut places = Places::default();
        let text = "€20.00 to Oak Rentals and €20.00 from Oak Rentals";
        let out = places.take_out(text);
        assert_eq!(out, "<money1> to <name1> and <money1> from <name1>");
        assert_eq!(places.put_back(&out).as_deref(), Ok(text));
        assert_eq!(places.put_back("pay <money2>"), Err(Place { kind: Kind::Money, number: 2 }));
        assert_eq!(places.put_back("a < b <nothing1>").as_deref(), Ok("a < b <nothing1>"));
        assert_eq!(places.take_out("<money1>"), "‹money1›");
    }
}
