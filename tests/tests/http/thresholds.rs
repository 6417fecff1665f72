//! Thresholds: their figures, the bank's costs, and a policy drafted from them that a second person puts in force.

use candor::accounts::Role;
use candor::applications::policies;
use candor_tests::{Browser, spawn};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::risk_reports::labelled;

const PAGE: &str = "/manage/reports/risk/thresholds";

/// A CSV's cells without its head.
pub(crate) fn cells(csv: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().from_reader(csv.as_bytes());
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

async fn file(browser: &Browser, name: &str, query: &str) -> Vec<Vec<String>> {
    cells(&browser.page(&format!("{PAGE}/{name}.csv?days=30{query}")).await)
}

#[tokio::test]
async fn the_curves_say_what_each_threshold_finds_and_costs() {
    let app = spawn().await;
    let manager = app.sign_in(Role::Manager).await;
    let empty = manager.page(PAGE).await;
    assert!(empty.contains("Needed: at least one confirmed fraud") && empty.contains("Bands are proposed when"));
    labelled(&app, 40).await;
    let page = manager.page(&format!("{PAGE}?days=30")).await;
    for name in ["recall", "precision", "cost"] {
        assert!(page.contains(&format!("id=\"{name}-title\"")), "{name} is drawn");
    }
    assert!(page.contains("40 applications whose end is known, 10 of them frauds"));

    // Every threshold from nothing to everything: all frauds and all honest ones at the end.
    let recall = file(&manager, "recall", "").await;
    let (first, last) = (recall.first().unwrap(), recall.last().unwrap());
    assert_eq!((first[1].as_str(), first[2].as_str()), ("0", "0.0000"));
    assert_eq!((last[1].as_str(), last[2].as_str(), last[4].as_str()), ("40", "1.0000", "1.0000"));
    // At 1 % of 30 honest ones none may be flagged, at 5 % one.
    let choices = file(&manager, "choices", "").await;
    let honest = |row: usize| choices[row][4].parse::<f64>().unwrap() * 30.0;
    assert_eq!(choices[2][0], "At most 1 % of honest ones flagged");
    assert!(honest(2) == 0.0 && honest(3) <= 1.0 + 1e-9, "{choices:?}");

    // Doubling what a review costs doubles that part of every row; reviewing nothing costs the frauds.
    let (cheap, dear) = (file(&manager, "cost", "&review=10").await, file(&manager, "cost", "&review=20").await);
    assert_eq!(cheap.len(), dear.len());
    for (cheap, dear) in cheap.iter().zip(&dear) {
        let number = |row: &Vec<String>, column: usize| row[column].parse::<f64>().unwrap();
        assert!((2.0 * number(cheap, 2) - number(dear, 2)).abs() < 0.02);
        assert!((number(cheap, 2) + number(cheap, 3) + number(cheap, 4) - number(cheap, 5)).abs() < 0.02);
    }
    let lost: f64 = (0..10_u32).map(|fraud| f64::from(5_000 + fraud * 4 * 100) * 0.9).sum();
    assert!((cheap[0][5].parse::<f64>().unwrap() - lost).abs() < 0.01, "{} {lost}", cheap[0][5]);
    assert_eq!(manager.get(&format!("{PAGE}/nothing.csv")).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn costs_are_checked_and_kept_by_a_manager() {
    let app = spawn().await;
    labelled(&app, 8).await;
    let (manager, auditor) = (app.sign_in(Role::Manager).await, app.sign_in(Role::Auditor).await);
    let wrong = manager.get(&format!("{PAGE}?review=much&missed=120")).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let wrong = wrong.text().await.unwrap();
    assert!(
        wrong.contains("href=\"#review\"") && wrong.contains("id=\"missed-error\"") && wrong.contains("value=\"much\"")
    );

    let own = [("missed", "80"), ("review", "31.5"), ("declined", "250"), ("recognised", "95"), ("mistaken", "1")];
    let mut form = own.to_vec();
    form.push(("reviews", "12"));
    let costs = format!("{PAGE}/costs");
    assert_eq!(auditor.post_form(&costs, &form).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(manager.post_form(&costs, &form).await.status(), StatusCode::SEE_OTHER);
    let page = auditor.page(PAGE).await;
    assert!(page.contains("value=\"31.5\"") && page.contains("12 reviews a week"));
    assert!(!page.contains("Keep as the bank"), "an auditor changes nothing");
    assert_eq!(manager.post_form(&costs, &[("review", "-1")]).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let entries: Vec<serde_json::Value> =
        sqlx::query_scalar("select details::jsonb from audit_entries where action = 'risk_settings.changed'")
            .fetch_all(&app.db)
            .await
            .unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (&entries[0]["before"]["costs"]["review"], &entries[0]["after"]["costs"]["review"]),
        (&25.0.into(), &31.5.into())
    );
    let officer = app.sign_in(Role::Officer).await;
    assert_eq!(officer.get(PAGE).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_policy_is_drafted_from_the_thresholds_and_takes_force_through_a_second_person() {
    let app = spawn().await;
    labelled(&app, 24).await;
    let (manager, senior) = (app.sign_in(Role::Manager).await, app.sign_in(Role::SeniorOfficer).await);
    let draft = format!("{PAGE}/draft?days=30");
    let wrong = manager.post_form(&draft, &[("medium", "20"), ("high", "4")]).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let wrong = wrong.text().await.unwrap();
    assert!(wrong.contains("id=\"high-error\"") && wrong.contains("value=\"20\""));
    assert_eq!(senior.post_form(&draft, &[("medium", "1"), ("high", "4")]).await.status(), StatusCode::FORBIDDEN);
    // So low that everybody is flagged.
    let sent = manager.post_form(&draft, &[("medium", "0.001"), ("high", "99")]).await;
    assert_eq!(sent.status(), StatusCode::SEE_OTHER, "{}", sent.text().await.unwrap());
    let place = sent.headers()["location"].to_str().unwrap().to_owned();

    let page = manager.page(&place).await;
    assert!(page.contains("Bands from the thresholds of the last 30 days") && page.contains("What it would change"));
    let squeezed = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let row = |name: &str| {
        let at =
            squeezed.find(&format!("<th scope=\"row\">{name}</th>")).unwrap_or_else(|| panic!("{name}: {squeezed}"));
        squeezed[at..]
            .split("class=\"num\">")
            .skip(1)
            .take(2)
            .map(|cell| cell.split('<').next().unwrap().parse().unwrap())
            .collect::<Vec<u32>>()
    };
    assert_eq!(row("Frauds caught")[1], 6);
    assert_eq!(row("Frauds missed")[1], 0);
    assert_eq!(row("Honest ones flagged")[1], 18);
    assert_eq!(row("Frauds caught")[0] + row("Frauds missed")[0], 6);
    assert_eq!((row("low")[1], row("medium")[1], row("high")[1]), (0, 24, 0));
    let changed = cells(&manager.page(&format!("{place}/effect.csv")).await);
    assert_eq!(u32::try_from(changed.len()).unwrap(), row("approve")[0], "whoever was approved is referred now");
    assert!(changed.iter().all(|row| row[3] == "approve" && row[4] == "refer"));

    assert_eq!(manager.post_form(&format!("{place}/activate"), &[("", "")]).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(senior.post_form(&format!("{place}/activate"), &[("", "")]).await.status(), StatusCode::SEE_OTHER);
    let mut connection = app.db.acquire().await.unwrap();
    let active = policies::active(&mut connection).await.unwrap();
    assert!((active.body.bands.medium - 1e-5).abs() < 1e-12);
    let first: Uuid =
        sqlx::query_scalar("select id from policies where status = 'retired'").fetch_one(&app.db).await.unwrap();
    // What was in force is re-run beside what is.
    let again = manager.page(&format!("/manage/policies/{first}")).await;
    assert!(again.contains("What it would change now") && again.contains("Frauds caught"));
    let actions: Vec<String> =
        sqlx::query_scalar("select action from audit_entries where subject_kind = 'policy' order by number")
            .fetch_all(&app.db)
            .await
            .unwrap();
    assert_eq!(actions, ["policy.activated", "policy.drafted", "policy.activated"]);
}
