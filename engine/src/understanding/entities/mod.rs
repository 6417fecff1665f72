//! Values in a customer's words: money, days, card and account digits, ways to reach a person.
//!
//! Rules, no model: each reader looks for one kind, the surest kinds first, and what one has taken the next leaves alone.

mod contact;
mod date;
mod identifier;
mod money;
mod number;
mod postcode;
mod word;

use chrono::NaiveDate;

use super::{Entity, EntityKind};
use word::{Word, words};

/// A reader's finding: words `first..end` are a value of `kind`.
struct Found {
    kind: EntityKind,
    first: usize,
    end: usize,
    value: String,
}

/// Looks for one kind of value that begins at a word.
type Reader<'a> = &'a dyn Fn(&[Word], usize) -> Option<Found>;

/// Every value in a text, in order and without overlap. Words for days (`yesterday`) count from `today`.
#[must_use]
pub fn find_entities(text: &str, today: NaiveDate) -> Vec<Entity> {
    let words = words(text);
    let mut taken = vec![false; words.len()];
    let mut found: Vec<Entity> = Vec::new();
    let readers: [Reader<'_>; 10] = [
        &contact::email,
        &identifier::customer_number,
        &identifier::iban,
        &identifier::card,
        &contact::phone,
        &|words, at| date::date(words, at, today),
        &money::money,
        &identifier::account,
        &postcode::postcode,
        &contact::name,
    ];
    let mut take = |one: Found| {
        let (Some(first), Some(last)) = (words.get(one.first), words.get(one.end.wrapping_sub(1))) else { return };
        let Some(places) = taken.get_mut(one.first..one.end) else { return };
        if places.contains(&true) {
            return;
        }
        places.fill(true);
        let (start, end) = (first.start, last.end);
        let text = text.get(start..end).unwrap_or_default().to_owned();
        found.push(Entity { kind: one.kind, text, value: one.value, start, end });
    };
    for read in readers {
        (0..words.len()).filter_map(|at| read(&words, at)).for_each(&mut take);
    }
    (0..words.len()).filter_map(|at| number::plain(&words, at)).for_each(&mut take);
    found.sort_by_key(|entity| entity.start);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(EntityKind, String)> {
        // A Monday.
        let today = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();
        find_entities(text, today)
            .into_iter()
            .map(|entity| {
                assert_eq!(&text[entity.start..entity.end], entity.text, "{text}");
                (entity.kind, entity.value)
            })
            .collect()
    }

    #[track_caller]
    fn expect(kind: EntityKind, rows: &[(&str, &str)]) {
        for (text, value) in rows {
            assert_eq!(found(text), [(kind, (*value).to_owned())], "{text}");
        }
    }

    #[test]
    fn money() {
        expect(
            EntityKind::Money,
            &[
                ("I sent £250.00 to Anna", "250.00 GBP"),
                ("a loan of 10,000 euros", "10000.00 EUR"),
                ("1.234,56 € were taken", "1234.56 EUR"),
                ("can I borrow $7,500?", "7500.00 USD"),
                ("five hundred pounds", "500.00 GBP"),
                ("I need 10k euros", "10000.00 EUR"),
                ("EUR 49.99 was charged", "49.99 EUR"),
                ("they took 29,90€.", "29.90 EUR"),
                ("twenty five dollars", "25.00 USD"),
            ],
        );
    }

    #[test]
    fn dates() {
        expect(
            EntityKind::Date,
            &[
                ("it was yesterday", "2026-11-22"),
                ("the payment from last Friday", "2026-11-20"),
                ("on the 12th of May 1990", "1990-05-12"),
                ("May 12, 1990", "1990-05-12"),
                ("born 12/05/1990", "1990-05-12"),
                ("1990-05-12", "1990-05-12"),
                ("born on the twelfth of may 1990", "1990-05-12"),
                ("on 3 December", "2026-12-03"),
                ("next Wednesday please", "2026-11-25"),
                ("31.12.1999", "1999-12-31"),
                ("I moved the money 7 days ago", "2026-11-16"),
                ("I spent it two weeks ago", "2026-11-09"),
                ("pay it in three days", "2026-11-26"),
                ("it was stolen last night", "2026-11-22"),
                ("the day after tomorrow", "2026-11-25"),
                ("I need the money by Wednesday", "2026-11-25"),
                ("27th of the 9th 1979", "1979-09-27"),
                ("the card I ordered five months ago", "2026-06-23"),
                ("two days from now", "2026-11-25"),
                ("I froze it this morning", "2026-11-23"),
                ("I sent it last week Monday", "2026-11-16"),
                ("before next week Friday", "2026-12-04"),
                ("30 09 1983", "1983-09-30"),
                ("2005 2010", "2010-05-20"),
                ("29/11 1959", "1959-11-29"),
            ],
        );
        // The same words in what is asked and in what is told.
        expect(
            EntityKind::Date,
            &[
                ("please transfer it on Friday", "2026-11-27"),
                ("I was charged on Friday", "2026-11-20"),
                ("can you tell me where it was on the 30th", "2026-10-30"),
                ("can we move it to the 30th", "2026-11-30"),
                ("book it for Saturday, 28 November", "2026-11-28"),
                ("I will pay on 6 February", "2027-02-06"),
                ("it was refunded on 6 June", "2026-06-06"),
            ],
        );
        assert_eq!(found("31/02/2020"), [], "no such day");
        assert_eq!(found("you may call"), []);
        let ordinals = found("it is the 3rd time, on the 4th of each month");
        assert!(ordinals.iter().all(|(kind, _)| *kind != EntityKind::Date), "{ordinals:?}");
        assert_eq!(found("a day in a week's time"), []);
    }

    #[test]
    fn cards_and_accounts() {
        expect(
            EntityKind::CardLast4,
            &[
                ("block the card ending in 4421", "4421"),
                ("no, the other card, 9910", "9910"),
                ("last four digits are 0071", "0071"),
                ("my card is 4111 1111 1111 1111", "1111"),
            ],
        );
        expect(
            EntityKind::Account,
            &[
                ("DE89 3704 0044 0532 0130 00", "DE89370400440532013000"),
                ("my iban is GB82WEST12345698765432", "GB82WEST12345698765432"),
                ("account number 12345678", "12345678"),
            ],
        );
        expect(EntityKind::CustomerNumber, &[("I am customer C-10023", "C-10023"), ("c10023", "C-10023")]);
    }

    #[test]
    fn people_and_how_to_reach_them() {
        expect(EntityKind::Email, &[("mail Jane.Doe@Example.com.", "jane.doe@example.com")]);
        expect(
            EntityKind::Phone,
            &[
                ("call me at +44 20 7946 0018", "+442079460018"),
                ("my phone number is 0171 555 0199", "01715550199"),
                ("mobile: (555) 010-9999", "5550109999"),
            ],
        );
        expect(
            EntityKind::Postcode,
            &[
                ("I live at SW1A 1AA", "SW1A 1AA"),
                ("postcode 10115", "10115"),
                ("it is sw1a1aa", "SW1A 1AA"),
                ("b 2 6 r l", "B2 6RL"),
                ("s k 2 9 a q", "SK2 9AQ"),
                ("my postcode is c b one two three b q", "CB12 3BQ"),
                ("it is CB1 2 3 B Q", "CB12 3BQ"),
                ("Bravo Sierra 6 1 Sierra Hotel", "BS6 1SH"),
                ("L 823 ft", "L82 3FT"),
                ("B for Bravo 2 6 R for Romeo L", "B2 6RL"),
                ("s t v 2 o t p", "ST52 0TP"),
                ("W 2 for B Zed", "W2 4BZ"),
            ],
        );
        expect(
            EntityKind::Name,
            &[
                ("my name is anna schmidt", "Anna Schmidt"),
                ("Hi, I'm Maria Lopez and I lost it", "Maria Lopez"),
                ("this is Peter calling", "Peter"),
                ("an account under the name anna schmidt", "Anna Schmidt"),
                ("open another one under the same name anna schmidt", "Anna Schmidt"),
                ("it's page guynn speaking", "Page Guynn"),
                ("hi, it's katty calling", "Katty"),
                ("Hello Anna Schmidt here, I lost it", "Anna Schmidt"),
            ],
        );
        assert_eq!(found("I'm very unhappy"), []);
        for none in ["I see a 2 for one offer", "can I be one of the 2 you see", "on May 5 to 7 my mum is in"] {
            assert!(found(none).iter().all(|(kind, _)| *kind != EntityKind::Postcode), "{none}");
        }
        assert_eq!(found("I am Happy to wait"), []);
        for none in
            ["it's still here", "is anyone here?", "it's someone calling me", "hello, I'm here.", "Who's calling?"]
        {
            assert_eq!(found(none), [], "{none}");
        }
    }

    #[test]
    fn several_values_of_one_message_and_what_is_left() {
        use EntityKind::{CustomerNumber, Date, Money, Name, Number};
        let kinds: Vec<EntityKind> =
            found("I'm Anna Schmidt, C-10023, I paid 49.99 euros on 20/11/2026 and want 24 months")
                .into_iter()
                .map(|one| one.0)
                .collect();
        assert_eq!(kinds, [Name, CustomerNumber, Money, Date, Number]);
        assert_eq!(found("over 24 months"), [(Number, "24".to_owned())]);
        assert_eq!(found("thank you, that is all"), []);
        assert_eq!(found("你好 €"), []);
    }
}
