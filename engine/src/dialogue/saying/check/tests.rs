use super::*;

fn said(words: &str, reply: &str) -> Result<(), Fault> {
    check(reply, &Grounds { words, also: &["Harbour Bank", "Block a lost or stolen card"] })
}

fn refused(words: &str, reply: &str) -> Fault {
    said(words, reply).expect_err(&format!("«{reply}» should be refused for «{words}»"))
}

const BLOCK: &str = "Block the debit card ending 4821? This can not be undone.";
const ORDER: &str =
    "Shall I order a new debit card? It is free and arrives within 7 working days at the address we have for you.";
const TRANSFER: &str = "The transfer of €250.00 to Maria Rossi on Sunday 22 November is on its way. It was sent after \
                        16:00. It should arrive by Tuesday 24 November.";
const LIST: &str = "Your latest payments:\nSunday 22 November: Maria Rossi, -€250.00\nSaturday 21 November: Bluebird \
                    Books, -€34.90";
const PASSAGE: &str = "Yes, a card can be sent abroad to every country of the European Union, within 12 working days. \
                       Express delivery within 3 working days costs 15 euros.";

#[test]
fn other_words_for_the_same_are_said() {
    for (words, reply) in [
        (BLOCK, "Shall I block the debit card ending 4821? This can not be undone."),
        (BLOCK, "I am sorry to hear that. Do you want me to block the debit card ending 4821? It can not be undone."),
        (
            ORDER,
            "Would you like me to order a new debit card? It is free and arrives at the address we have for you within seven working days.",
        ),
        ("Which card should I block?", "Of course. Which of your cards should I block?"),
        ("What is your date of birth?", "Thank you. May I have your date of birth, please?"),
        ("I can block your card right away.", "Your card can be blocked right away."),
        (
            TRANSFER,
            "The transfer of €250 to Maria Rossi on 22 November is on its way: it was sent after 16:00. It should arrive by 24 November.",
        ),
        (PASSAGE, PASSAGE),
        (
            LIST,
            "These are your latest payments:\nSunday 22 November: Maria Rossi, -€250.00\nSaturday 21 November: Bluebird Books, -€34.90",
        ),
        ("I am passing you to a colleague now.", "I understand. I am now passing you to a colleague."),
    ] {
        assert_eq!(said(words, reply), Ok(()), "{reply}");
    }
}

#[test]
fn values_from_nowhere_are_refused() {
    assert_eq!(
        refused(BLOCK, "Block the debit card ending 4812? This can not be undone."),
        Fault::Value("4812".into())
    );
    assert_eq!(
        refused(
            ORDER,
            "Shall I order a new debit card? It is free and arrives within 5 working days at the address we have for you."
        ),
        Fault::Value("5".into())
    );
    assert_eq!(
        refused(
            ORDER,
            "Shall I order a new debit card? It is free and arrives within 7 weeks at the address we have for you."
        ),
        Fault::Value("7".into())
    );
    assert_eq!(
        refused(
            ORDER,
            "Shall I order a new debit card? It is free and arrives within five working days at the address we have for you."
        ),
        Fault::Value("five".into())
    );
    assert_eq!(
        refused(
            TRANSFER,
            "The transfer of £250.00 to Maria Rossi on Sunday 22 November is on its way. It was sent after 16:00. It should arrive by Tuesday 24 November."
        ),
        Fault::Value("£250.00".into())
    );
    assert_eq!(
        refused(
            TRANSFER,
            "The transfer of €250.00 to Mario Rossi on Sunday 22 November is on its way. It was sent after 16:00. It should arrive by Tuesday 24 November."
        ),
        Fault::Value("Mario Rossi".into())
    );
    assert_eq!(
        refused(
            TRANSFER,
            "The transfer of €250.00 to Maria Rossi on Sunday 22 November is on its way. It was sent after 16:00. It should arrive by Wednesday 24 November."
        ),
        Fault::Value("Wednesday 24 November".into())
    );
    assert_eq!(refused("How can I help you?", "How can I help you with Visa Gold?"), Fault::Value("Visa Gold".into()));
}

#[test]
fn a_name_at_the_start_of_a_sentence_is_a_word_from_nowhere() {
    assert_eq!(refused("How can I help you?", "Anna, how can I help you?"), Fault::Word("anna".into()));
    assert_eq!(refused("How can I help you?", "PayPal. How can I help you?"), Fault::Word("paypal".into()));
}

#[test]
fn values_left_out_or_exchanged_are_refused() {
    assert_eq!(refused(BLOCK, "Shall I block the debit card? This can not be undone."), Fault::LeftOut("4821".into()));
    assert_eq!(
        refused(
            TRANSFER,
            "The transfer of €250.00 to Maria Rossi on Tuesday 24 November is on its way. It was sent after 16:00. It should arrive by Sunday 22 November."
        ),
        Fault::Exchanged("Sunday 22 November".into())
    );
    let exchanged = "Your latest payments:\nSunday 22 November: Maria Rossi, -€34.90\nSaturday 21 November: Bluebird Books, -€250.00";
    assert!(matches!(refused(LIST, exchanged), Fault::Exchanged(_)));
    let lines = "Your latest payments:\nSunday 22 November: Bluebird Books, -€250.00\nSaturday 21 November: Maria Rossi, -€34.90";
    assert!(matches!(refused(LIST, lines), Fault::Exchanged(_)));
    assert!(matches!(
        refused(LIST, "Your latest payments:\nSunday 22 November: Maria Rossi, -€250.00"),
        Fault::LeftOut(_)
    ));
}

#[test]
fn a_denial_lost_or_made_up_is_refused() {
    assert!(matches!(
        refused(BLOCK, "Shall I block the debit card ending 4821? This can be undone."),
        Fault::Denial(_)
    ));
    assert!(matches!(refused("Nobody can pay with it.", "You can pay with it."), Fault::Denial(_)));
    assert!(matches!(refused("That card is blocked already.", "That card is not blocked already."), Fault::Denial(_)));
    assert!(matches!(
        refused("I do not have a reliable answer to that.", "I have a reliable answer to that."),
        Fault::Denial(_)
    ));
    assert!(matches!(
        refused(
            "The money is still in your account, so you can send it again.",
            "The money is not in your account, so you can send it again."
        ),
        Fault::Denial(_)
    ));
    assert!(matches!(refused("You can send it again.", "You can't send it again."), Fault::Denial(_)));
}

#[test]
fn what_was_only_asked_is_not_said_to_be_done() {
    assert!(matches!(
        refused(BLOCK, "I have blocked the debit card ending 4821. This can not be undone. Is that right?"),
        Fault::Claim(_)
    ));
    assert!(matches!(
        refused("I can block your card right away.", "Your card is blocked right away."),
        Fault::Claim(_)
    ));
    assert!(matches!(refused("I can open a dispute for you.", "A dispute has been opened for you."), Fault::Claim(_)));
    assert_eq!(
        said("Your application 20390 for €4,000 is approved.", "Your application 20390 for €4,000 has been approved."),
        Ok(())
    );
}

#[test]
fn promises_from_nowhere_are_refused() {
    let lookup = "I can look that payment up.";
    for (promise, word) in [
        ("I will look that payment up.", "will"),
        ("I'll look that payment up.", "will"),
        ("I can look that payment up immediately.", "immediately"),
        ("I can refund that payment.", "refund"),
        ("I guarantee that I can look that payment up.", "guarantee"),
        ("I can always look that payment up.", "always"),
        ("I can look that payment up for free.", "free"),
    ] {
        assert_eq!(refused(lookup, promise), Fault::Word(word.into()), "{promise}");
    }
    assert_eq!(refused("A person answers it.", "A person may help you."), Fault::Word("may".into()));
    assert_eq!(refused("You hear from us.", "You hear from us soon."), Fault::Word("soon".into()));
    assert_eq!(refused("Which card is it?", "We owe you compensation. Which card is it?"), Fault::Word("owe".into()));
}

#[test]
fn restrictions_stay() {
    assert_eq!(
        refused(
            "You can pay back early only with 30 days of notice.",
            "You can pay back early with 30 days of notice."
        ),
        Fault::Restriction("only".into())
    );
    assert_eq!(
        refused("You can take out up to 1,000 euros a day.", "You can take out 1,000 euros a day."),
        Fault::Restriction("up to".into())
    );
    assert_eq!(
        refused("It costs nothing if you pay on time.", "It costs nothing. You pay on time."),
        Fault::Restriction("if".into())
    );
    assert_eq!(refused("The branch is open.", "The branch is open every day."), Fault::Word("every".into()));
}

#[test]
fn lines_of_a_summary_state_what_was_said() {
    let sources = ["My card ending 4821 was stolen".to_owned(), "Your card ending 4821 is blocked.".to_owned()];
    let done = ["Your card ending 4821 is blocked.".to_owned()];
    assert_eq!(supported("Card ending 4821 stolen", &sources), Ok(()));
    assert_eq!(supported("Card ending 4821 is blocked", &done), Ok(()));
    assert_eq!(supported("Card ending 7730 stolen", &sources), Err(Fault::Value("7730".into())));
    assert_eq!(supported("A new card has been ordered", &done), Err(Fault::Word("new".into())));
    assert_eq!(supported("Card was stolen", &done), Err(Fault::Word("stolen".into())));
    assert_eq!(supported("Your card is not blocked", &done), Err(Fault::Denial("blocked".into())));
}

#[test]
fn questions_stay_questions() {
    assert_eq!(refused("Which card should I block?", "I should block the card."), Fault::Question);
    assert_eq!(refused("You are welcome.", "You are welcome. May I ask you something?"), Fault::Question);
}

#[test]
fn too_little_and_too_much_are_refused() {
    assert_eq!(refused("Which card should I block?", ""), Fault::Empty);
    assert!(matches!(
        refused("Please write your date of birth as day, month and year.", "Please write it."),
        Fault::TooLittle
    ));
    assert_eq!(
        refused("Which card should I block?", "Which card should I block? Which card should I block?"),
        Fault::TooMuch
    );
}
