//! Loan applications: scored, reviewed, decided by two people where it must be, told in a letter, repeated.

use candor::accounts::Role;
use candor::applications::{self, Applicant, Channel, NewApplication, Session, Status, Submitted};
use candor_engine::risk::Proposal;
use candor_tests::{Browser, TestApp, spawn};
use chrono::NaiveDate;
use reqwest::StatusCode;
use uuid::Uuid;

pub(crate) fn ada() -> Applicant {
    Applicant {
        name: "Ada Byron".to_owned(),
        email: "ada.byron@post.example".to_owned(),
        phone: "+49 151 23456789".to_owned(),
        landline: Some("+49 40 1234567".to_owned()),
        date_of_birth: NaiveDate::from_ymd_opt(1985, 3, 27),
        street: "Kai 3".to_owned(),
        city: "Hamburg".to_owned(),
        postcode: "20457".to_owned(),
        months_at_address: Some(90),
        months_at_previous_address: Some(40),
        employment: Some("employed".to_owned()),
        housing: Some("tenant".to_owned()),
        yearly_income_minor: Some(4_200_000),
        repayment: Some("direct_debit".to_owned()),
        ..Applicant::default()
    }
}

/// Somebody with nothing against them.
fn sound(amount_minor: i64) -> NewApplication {
    NewApplication {
        session: Session { minutes: Some(9.0), device: Some("ada's".to_owned()), ..Session::default() },
        ..NewApplication::new(ada(), amount_minor, 36, "car", Channel::Web)
    }
}

/// Somebody on whose device a fraud was confirmed: a rule proposes to decline.
fn from_a_burnt_device(amount_minor: i64) -> NewApplication {
    let mut new = sound(amount_minor);
    new.applicant.email = "xk2211@freemail.example".to_owned();
    new.applicant.months_at_address = Some(1);
    new.known.device_fraud_count = Some(2.0);
    new.known.device_distinct_emails_8w = Some(5.0);
    new
}

async fn submit(app: &TestApp, new: NewApplication) -> Submitted {
    applications::submit(&app.state, new).await.unwrap()
}

async fn status(app: &TestApp, application: Uuid) -> Status {
    applications::find(&app.db, application).await.unwrap().status
}

async fn actions(app: &TestApp, application: Uuid) -> Vec<String> {
    sqlx::query_scalar("select action from audit_entries where subject_id = $1 order by number")
        .bind(application.to_string())
        .fetch_all(&app.db)
        .await
        .unwrap()
}

/// The decision form with more fields.
fn form<'a>(assessment: &'a str, outcome: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [("assessment", assessment), ("outcome", outcome)].into_iter().chain(more.iter().copied()).collect()
}

#[tokio::test]
async fn an_application_is_scored_queued_declined_with_reasons_and_the_letter_names_them() {
    let app = spawn().await;
    let submitted = submit(&app, from_a_burnt_device(800_000)).await;
    let id = submitted.application.id;
    assert_eq!(submitted.assessment.proposal, Proposal::Decline);
    let officer = app.sign_in(Role::Officer).await;
    let queue = officer.page("/credit").await;
    assert!(queue.contains("Ada Byron") && queue.contains("€8,000.00"), "{queue}");
    let page = officer.page(&format!("/credit/{id}")).await;
    assert!(page.contains("Device of a confirmed fraud") && page.contains("<title id=\"waterfall-title\">"));
    for part in &submitted.assessment.attributions {
        assert!(page.contains(&part.label.replace('&', "&#38;")), "{} is missing in the table", part.label);
    }

    let assessment = submitted.assessment_id.to_string();
    let principal = applications::principal_reasons(&submitted.assessment);
    let codes: Vec<(&str, &str)> = principal.iter().map(|code| ("codes", code.as_str())).collect();
    let few = officer.post_form(&format!("/credit/{id}/check"), &form(&assessment, "declined", &codes[1..])).await;
    assert_eq!(few.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(few.text().await.unwrap().contains("no principal reason may be left out"));
    let preview = officer.post_form(&format!("/credit/{id}/check"), &form(&assessment, "declined", &codes)).await;
    assert_eq!(preview.status(), StatusCode::OK);
    let preview = preview.text().await.unwrap();
    assert!(preview.contains("What will happen") && preview.contains("was used in a confirmed fraud before"));
    assert_eq!(status(&app, id).await, Status::Received, "a preview keeps nothing");

    let decided = officer.post_form(&format!("/credit/{id}/decide"), &form(&assessment, "declined", &codes)).await;
    assert_eq!(decided.status(), StatusCode::SEE_OTHER);
    assert_eq!(status(&app, id).await, Status::Declined);
    let letters = applications::letters::of_application(&app.db, id).await.unwrap();
    let [letter] = letters.as_slice() else { panic!("one letter, not {}", letters.len()) };
    for text in [&letter.body_html, &letter.body_text] {
        assert!(text.contains("The device used for the application was used in a confirmed fraud before."));
        assert!(text.contains("Several different e-mail addresses applied from the same device."));
        assert!(text.contains("Equal Credit Opportunity Act"));
    }
    assert!(preview.contains(&letter.body_html), "the preview is the letter");
    let printed = officer.page(&format!("/credit/letters/{}", letter.id)).await;
    assert!(printed.contains(&letter.sha256));
    let kept = sqlx::query("update letters set body_text = 'another'").execute(&app.db).await;
    assert!(kept.is_err(), "a letter is kept as sent");

    let applicant = app.visitor().page(&submitted.status_path()).await;
    assert!(applicant.contains("We can not offer you this loan") && applicant.contains("confirmed fraud"));
    assert_eq!(actions(&app, id).await, ["application.assessed", "decision.made"]);
    let again = officer.post_form(&format!("/credit/{id}/decide"), &form(&assessment, "declined", &codes)).await;
    assert_eq!(again.status(), StatusCode::CONFLICT);
}

#[tokio::test]
async fn what_did_not_raise_the_score_is_no_reason_and_four_are_the_most() {
    let app = spawn().await;
    let submitted = submit(&app, from_a_burnt_device(800_000)).await;
    let lowers = submitted.assessment.attributions.iter().find(|part| part.contribution < 0.0).unwrap();
    let code = candor_engine::risk::Catalogue::shipped().get(&lowers.factor).unwrap().code.clone();
    let officer = app.sign_in(Role::Officer).await;
    let (path, assessment) =
        (format!("/credit/{}/check", submitted.application.id), submitted.assessment_id.to_string());
    let refused = officer.post_form(&path, &form(&assessment, "declined", &[("codes", &code)])).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().await.unwrap().contains("it did not raise the score"));
    let none = officer.post_form(&path, &form(&assessment, "declined", &[])).await;
    assert!(none.text().await.unwrap().contains("Choose 1 to 4 reasons; 0 are chosen."));
    let many: Vec<(&str, &str)> = ["OFF-1", "OFF-2", "OFF-3", "OFF-4", "OFF-5"].map(|code| ("codes", code)).to_vec();
    let refused = officer.post_form(&path, &form(&assessment, "declined", &many)).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn an_override_needs_a_reason() {
    let app = spawn().await;
    let submitted = submit(&app, from_a_burnt_device(200_000)).await;
    let id = submitted.application.id;
    let assessment = submitted.assessment_id.to_string();
    let officer = app.sign_in(Role::Officer).await;
    let path = format!("/credit/{id}/decide");
    let refused = officer
        .post_form(&path, &form(&assessment, "approved", &[("override_reason", "because"), ("comment", "typed")]))
        .await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = refused.text().await.unwrap();
    assert!(
        page.contains("Say why, in at least 10 characters") && page.contains(">typed</textarea>"),
        "typed words stay"
    );
    assert_eq!(status(&app, id).await, Status::Received);
    let why = [("override_reason", "Met in the branch, both documents seen.")];
    let decided = officer.post_form(&path, &form(&assessment, "approved", &why)).await;
    assert_eq!(decided.status(), StatusCode::SEE_OTHER);
    assert_eq!(status(&app, id).await, Status::Approved);
    assert_eq!(actions(&app, id).await, ["application.assessed", "decision.made", "decision.override"]);
}

/// An override above the policy's amount, proposed by a senior officer.
async fn proposed(app: &TestApp, senior: &Browser) -> (Uuid, String) {
    let submitted = submit(app, from_a_burnt_device(2_000_000)).await;
    let id = submitted.application.id;
    let assessment = submitted.assessment_id.to_string();
    let why = [("override_reason", "Met in the branch, both documents seen.")];
    let check = senior.post_form(&format!("/credit/{id}/check"), &form(&assessment, "approved", &why)).await;
    assert!(check.text().await.unwrap().contains("the amount needs a second person"));
    let sent = senior.post_form(&format!("/credit/{id}/decide"), &form(&assessment, "approved", &why)).await;
    assert_eq!(sent.status(), StatusCode::SEE_OTHER);
    assert_eq!(status(app, id).await, Status::PendingSecond);
    let decision = applications::decisions::of_application(&app.db, id).await.unwrap();
    (id, decision[0].id.to_string())
}

#[tokio::test]
async fn above_the_amount_a_second_senior_officer_confirms_and_the_database_refuses_everybody_else() {
    let app = spawn().await;
    let senior = app.sign_in(Role::SeniorOfficer).await;
    let (id, decision) = proposed(&app, &senior).await;
    assert!(applications::letters::of_application(&app.db, id).await.unwrap().is_empty(), "no letter yet");
    let path = format!("/credit/{id}/second");
    let own = senior.post_form(&path, &[("decision", &decision)]).await;
    assert_eq!(own.status(), StatusCode::FORBIDDEN);
    assert!(own.text().await.unwrap().contains("A second person confirms this decision"));
    let officer = app.sign_in(Role::Officer).await;
    assert_eq!(officer.post_form(&path, &[("decision", &decision)]).await.status(), StatusCode::FORBIDDEN);

    // Past every page: the database itself refuses.
    let key = Uuid::parse_str(&decision).unwrap();
    for (sql, constraint) in [
        ("update decisions set status = 'final', seconded_by = decided_by where id = $1", "decisions_four_eyes"),
        ("update decisions set status = 'final' where id = $1", "decisions_second_needed"),
        (
            "update decisions set status = 'final', seconded_by = (select id from people where role = 'officer') where id = $1",
            "decisions_second_senior",
        ),
    ] {
        let refused = sqlx::query(sql).bind(key).execute(&app.db).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().constraint(), Some(constraint));
    }
    assert_eq!(status(&app, id).await, Status::PendingSecond);

    let second = app.sign_in_another(Role::SeniorOfficer, "Second Senior").await;
    assert!(second.page(&format!("/credit/{id}")).await.contains("Confirm the decision"));
    assert_eq!(second.post_form(&path, &[("decision", &decision)]).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(status(&app, id).await, Status::Approved);
    assert_eq!(applications::letters::of_application(&app.db, id).await.unwrap().len(), 1);
    assert_eq!(
        actions(&app, id).await,
        ["application.assessed", "decision.proposed", "decision.override", "decision.seconded"]
    );
    let changed = sqlx::query("update decisions set comment = 'x' where id = $1").bind(key).execute(&app.db).await;
    assert!(changed.is_err(), "a finished decision is kept as it was");
}

#[tokio::test]
async fn a_refused_override_waits_for_a_decision_again() {
    let app = spawn().await;
    let senior = app.sign_in(Role::SeniorOfficer).await;
    let (id, decision) = proposed(&app, &senior).await;
    let second = app.sign_in_another(Role::SeniorOfficer, "Second Senior").await;
    let path = format!("/credit/{id}/refuse");
    let short = second.post_form(&path, &[("decision", decision.as_str()), ("why", "no")]).await;
    assert_eq!(short.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let why = [("decision", decision.as_str()), ("why", "The payslips do not match the statements.")];
    assert_eq!(second.post_form(&path, &why).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(status(&app, id).await, Status::Referred);
    assert!(actions(&app, id).await.contains(&"decision.refused".to_owned()));
    assert_eq!(second.post_form(&path, &why).await.status(), StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_score_repeated_gives_the_same_bits_and_nobody_can_change_it() {
    let app = spawn().await;
    let submitted = submit(&app, sound(900_000)).await;
    let stored = applications::assessment(&app.db, submitted.assessment_id).await.unwrap();
    assert_eq!(stored.assessment, submitted.assessment, "what was kept is what was said");
    let mut connection = app.db.acquire().await.unwrap();
    let again = applications::repeat(&mut connection, &stored).await.unwrap();
    assert!(again.same && again.same_model, "{:?}", again.differences);
    assert_eq!(again.assessment.margin.to_bits(), stored.assessment.margin.to_bits());
    assert!((stored.sum() - stored.assessment.margin).abs() < 1e-9);
    let auditor = app.sign_in(Role::Auditor).await;
    let page = auditor.page(&format!("/credit/{}?repeat=1", submitted.application.id)).await;
    assert!(page.contains("Repeated: the same bits came out."));
    assert!(!page.contains("Approve…"), "an auditor decides nothing");
    for sql in ["update assessments set margin = 0", "delete from assessments"] {
        assert!(sqlx::query(sql).execute(&app.db).await.is_err());
    }

    let mut other = stored;
    other.assessment.margin += 1e-12;
    let differs = applications::repeat(&mut connection, &other).await.unwrap();
    assert!(!differs.same);
    assert_eq!(differs.differences[0].at, "margin");
}

#[tokio::test]
async fn what_others_sent_before_is_counted_and_linked() {
    let app = spawn().await;
    submit(&app, sound(900_000)).await;
    let mut second = sound(500_000);
    second.applicant.name = "Bea Curie".to_owned();
    second.applicant.email = "bea@post.example".to_owned();
    second.applicant.phone = "+49 160 7654321".to_owned();
    let second = submit(&app, second).await;
    let factors = &second.application.factors;
    assert_eq!(factors.device_distinct_emails_8w, Some(2.0), "two addresses on one device");
    assert_eq!(factors.date_of_birth_distinct_emails_4w, Some(2.0));
    assert_eq!(factors.zip_count_4w, Some(1.0));
    assert_eq!(factors.device_fraud_count, Some(0.0));
    assert_eq!(factors.credit_risk_score, None, "what is not known stays missing");
    let officer = app.sign_in(Role::Officer).await;
    let page = officer.page(&format!("/credit/{}", second.application.id)).await;
    assert!(page.contains("same device, address"), "linked applications are shown");
}

#[tokio::test]
async fn an_impossible_application_is_refused_field_by_field_and_leaves_nothing() {
    let app = spawn().await;
    let mut new = sound(0);
    new.applicant.email = "nobody".to_owned();
    new.purpose = "yacht".to_owned();
    let candor::AppError::Invalid(faults) = applications::submit(&app.state, new).await.unwrap_err() else {
        panic!("not refused by field")
    };
    let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["email", "amount", "purpose"]);
    let kept: i64 = sqlx::query_scalar("select count(*) from applications").fetch_one(&app.db).await.unwrap();
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn the_queue_is_filtered_sorted_and_exported_and_agents_do_not_see_it() {
    let app = spawn().await;
    submit(&app, from_a_burnt_device(300_000)).await;
    let mut large = sound(4_500_000);
    large.applicant.name = "Zoe Largo".to_owned();
    large.applicant.email = "zoe@post.example".to_owned();
    submit(&app, large).await;
    let officer = app.sign_in(Role::Officer).await;
    let page = officer.page("/credit?sort=amount").await;
    assert!(page.find("Zoe Largo").unwrap() < page.find("Ada Byron").unwrap());
    let page = officer.page("/credit?sort=amount&dir=down").await;
    assert!(page.find("Ada Byron").unwrap() < page.find("Zoe Largo").unwrap());
    let page = officer.page("/credit?from=40000").await;
    assert!(page.contains("Zoe Largo") && !page.contains("Ada Byron"));
    assert!(officer.page("/credit?q=nobody+like+this").await.contains("Nothing fits this filter."));
    let export = officer.post_form("/credit/export", &[("q", "zoe")]).await;
    assert_eq!(export.status(), StatusCode::OK);
    let csv = export.text().await.unwrap();
    assert_eq!(csv.lines().count(), 2, "{csv}");
    assert!(csv.contains("Zoe Largo") && csv.contains("45000.00"));
    let exports: i64 = sqlx::query_scalar("select count(*) from audit_entries where action = 'applications.exported'")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(exports, 1);
    let agent = app.sign_in(Role::Agent).await;
    assert_eq!(agent.get("/credit").await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn documents_are_asked_for_and_then_it_is_decided() {
    let app = spawn().await;
    let submitted = submit(&app, sound(900_000)).await;
    let id = submitted.application.id;
    let assessment = submitted.assessment_id.to_string();
    let officer = app.sign_in(Role::Officer).await;
    let none = officer.post_form(&format!("/credit/{id}/decide"), &form(&assessment, "documents", &[])).await;
    assert_eq!(none.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let asked = form(&assessment, "documents", &[("documents", "DOC-2")]);
    assert_eq!(officer.post_form(&format!("/credit/{id}/decide"), &asked).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(status(&app, id).await, Status::Documents);
    assert!(app.visitor().page(&submitted.status_path()).await.contains("Your last three payslips"));
    let outcome = form(&assessment, "referred", &[("comment", "Please look at the address.")]);
    assert_eq!(officer.post_form(&format!("/credit/{id}/decide"), &outcome).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(status(&app, id).await, Status::Referred);
}

#[tokio::test]
async fn a_policy_takes_force_only_through_a_second_person() {
    let app = spawn().await;
    let submitted = submit(&app, sound(900_000)).await;
    let manager = app.sign_in(Role::Manager).await;
    let drafted = manager.post_form("/manage/policies", &[("", "")]).await;
    let place = drafted.headers()["location"].to_str().unwrap().to_owned();
    let draft = manager.page(&place).await;
    assert!(draft.contains("Both say the same.") && draft.contains("Of the last 1 applications"));

    let mut fields = fields_of(&draft);
    set(&mut fields, "high", "12");
    set(&mut fields, "medium", "20");
    let refused = manager.post_form(&place, &fields).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "the high band begins above the medium one");
    set(&mut fields, "medium", "2.5");
    set(&mut fields, "second_person", "5000");
    set(&mut fields, "name", "Tighter");
    assert_eq!(manager.post_form(&place, &fields).await.status(), StatusCode::SEE_OTHER);
    let draft = manager.page(&place).await;
    assert!(draft.contains("<del>15 %</del>") && draft.contains("<ins>12 %</ins>") && draft.contains("3 lines differ"));

    let path = format!("{place}/activate");
    let own = manager.post_form(&path, &[("", "")]).await;
    assert_eq!(own.status(), StatusCode::FORBIDDEN);
    let id = Uuid::parse_str(place.rsplit('/').next().unwrap()).unwrap();
    let refused = sqlx::query("update policies set status = 'active', activated_by = drafted_by where id = $1")
        .bind(id)
        .execute(&app.db);
    assert!(refused.await.is_err(), "the database refuses the drafter too");
    let second = app.sign_in_another(Role::Manager, "Second Manager").await;
    assert_eq!(second.post_form(&path, &[("", "")]).await.status(), StatusCode::SEE_OTHER);

    let mut connection = app.db.acquire().await.unwrap();
    let active = applications::policies::active(&mut connection).await.unwrap();
    assert_eq!((active.id, active.body.bands.high, active.body.second_person_above_minor), (id, 0.12, 500_000));
    let changed = sqlx::query("update policies set body = '{}' where id = $1").bind(id).execute(&app.db).await;
    assert!(changed.is_err(), "what is in force is not changed");
    // An earlier score is still repeated with the policy it was made under.
    let stored = applications::assessment(&app.db, submitted.assessment_id).await.unwrap();
    assert!(applications::repeat(&mut connection, &stored).await.unwrap().same);
    let actions: Vec<String> =
        sqlx::query_scalar("select action from audit_entries where subject_kind = 'policy' order by number")
            .fetch_all(&app.db)
            .await
            .unwrap();
    assert_eq!(actions, ["policy.activated", "policy.drafted", "policy.changed", "policy.activated"]);
    assert!(second.page("/manage/policies").await.contains("Tighter"));
    assert!(second.page("/manage/models").await.contains("came with the program"));
}

/// The fields of the draft's form, as a browser would send them unchanged.
fn fields_of(page: &str) -> Vec<(String, String)> {
    let form = &page[page.find("Change the draft").unwrap()..];
    let mut fields = Vec::new();
    for (at, _) in form.match_indices("name=\"") {
        let name = between(&form[at..], "name=\"", "\"").to_owned();
        let start = form[..at].rfind('<').unwrap();
        let tag = &form[start..start + form[start..].find('>').unwrap()];
        let rest = &form[start..];
        let value = if tag.starts_with("<input") && tag.contains("checkbox") {
            if !tag.contains("checked") {
                continue;
            }
            "yes".to_owned()
        } else if tag.starts_with("<input") {
            between(tag, "value=\"", "\"").to_owned()
        } else if tag.starts_with("<textarea") {
            between(rest, ">", "</textarea>").to_owned()
        } else {
            let options = between(rest, ">", "</select>");
            let chosen = options.split("<option").find(|option| option.contains("selected")).unwrap();
            between(chosen, "value=\"", "\"").to_owned()
        };
        fields.push((name, unescaped(&value)));
    }
    fields
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).unwrap() + from.len();
    &text[start..start + text[start..].find(to).unwrap()]
}

fn unescaped(text: &str) -> String {
    text.replace("&#34;", "\"").replace("&#39;", "'").replace("&#60;", "<").replace("&#62;", ">").replace("&#38;", "&")
}

fn set(fields: &mut [(String, String)], name: &str, value: &str) {
    fields.iter_mut().find(|(field, _)| field == name).unwrap().1 = value.to_owned();
}

#[tokio::test]
async fn letters_are_mailed_where_a_mail_server_is_configured() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mailbox = tokio::spawn(receive_mail(listener));
    let app = candor_tests::spawn_with(|config| config.smtp_url = Some(format!("smtp://127.0.0.1:{port}"))).await;
    let submitted = submit(&app, sound(900_000)).await;
    let id = submitted.application.id;
    let officer = app.sign_in(Role::Officer).await;
    let assessment = submitted.assessment_id.to_string();
    let approved = form(&assessment, "approved", &[("override_reason", "Nothing speaks against it.")]);
    assert_eq!(officer.post_form(&format!("/credit/{id}/decide"), &approved).await.status(), StatusCode::SEE_OTHER);
    let mail = tokio::time::timeout(std::time::Duration::from_secs(20), mailbox).await.unwrap().unwrap();
    assert!(mail.contains("To: \"Ada Byron\" <ada.byron@post.example>"), "{mail}");
    assert!(mail.contains("is approved"));
    for _ in 0..100 {
        let letters = applications::letters::of_application(&app.db, id).await.unwrap();
        if letters[0].mailed_at.is_some() {
            assert_eq!(letters[0].mailed_to.as_deref(), Some("ada.byron@post.example"));
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the letter is not marked as mailed");
}

/// A mail server that takes one message.
async fn receive_mail(listener: tokio::net::TcpListener) -> String {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let (stream, _) = listener.accept().await.unwrap();
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 test\r\n").await.unwrap();
    let mut message = String::new();
    let mut in_data = false;
    while let Some(line) = lines.next_line().await.unwrap() {
        if in_data {
            if line == "." {
                write.write_all(b"250 taken\r\n").await.unwrap();
                return message;
            }
            message.push_str(&line);
            message.push('\n');
            continue;
        }
        in_data = line == "DATA";
        let answer: &[u8] = if in_data { b"354 go on\r\n" } else { b"250 fine\r\n" };
        write.write_all(answer).await.unwrap();
    }
    message
}
