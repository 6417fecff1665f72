//! Fairness, factors and stability: each report with its picture, its table and its file.

use candor::accounts::Role;
use candor::applications::models;
use candor_engine::risk::training::{Options, Table, less_discriminatory};
use candor_tests::{Browser, TestApp, spawn};
use reqwest::StatusCode;

use crate::risk_reports::labelled;
use crate::thresholds::cells;

const FAIRNESS: &str = "/manage/reports/risk/fairness";
const FACTORS: &str = "/manage/reports/risk/factors";
const STABILITY: &str = "/manage/reports/risk/stability";

/// Every CSV that a page links to: its name and its rows.
async fn files(browser: &Browser, page: &str) -> Vec<(String, Vec<Vec<String>>)> {
    let mut all = Vec::new();
    for part in page.split("href=\"").skip(1) {
        let address = part.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
        if let Some((name, _)) = address.split_once(".csv?") {
            all.push((name.rsplit('/').next().unwrap().to_owned(), cells(&browser.page(&address).await)));
        }
    }
    all
}

/// Moves the applications over the past days, the first the oldest.
async fn spread(app: &TestApp, days: i32) {
    sqlx::query(
        "update applications a set received_at = now() - make_interval(days => $1)
                * (1 - (o.place - 1)::float8 / greatest((select count(*) from applications) - 1, 1))
         from (select id, row_number() over (order by number) as place from applications) o where o.id = a.id",
    )
    .bind(days)
    .execute(&app.db)
    .await
    .unwrap();
}

#[tokio::test]
async fn fairness_is_measured_by_group_with_intervals_and_alternatives_are_listed() {
    let app = spawn().await;
    let manager = app.sign_in(Role::Manager).await;
    let empty = manager.page(FAIRNESS).await;
    assert!(
        empty.contains("Needed: applications of this period")
            && empty.contains("--alternatives customer_age. It writes alternatives.json")
    );
    assert!(empty.contains("Not measured, because applications do not say it: sex; marital status"));
    labelled(&app, 60).await;
    let page = manager.page(&format!("{FAIRNESS}?days=30")).await;
    let found = files(&manager, &page).await;
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(&names[..4], ["adverse-impact", "selection", "false-positives", "group-calibration"]);
    assert!(names[4..].iter().all(|name| name.starts_with("gap-age-")) && names.len() >= 6, "{names:?}");
    for name in &names {
        assert!(page.contains(&format!("id=\"{name}-title\"")), "{name} is drawn");
    }
    // Everybody is in one group; frauds and honest ones too.
    let sum = |rows: &[Vec<String>], column: usize| -> i64 {
        rows.iter().map(|row| row[column].parse::<i64>().unwrap()).sum()
    };
    assert_eq!((sum(&found[1].1, 1), sum(&found[2].1, 1), sum(&found[3].1, 2)), (60, 45, 60));
    // Another jurisdiction has other groups.
    let eu = cells(&manager.page(&format!("{FAIRNESS}/selection.csv?days=30&jurisdiction=eu")).await);
    assert!(
        eu.iter().any(|row| row[0] == "age: 60 and over") && found[1].1.iter().any(|row| row[0] == "age: 62 and over")
    );
    let decided = cells(&manager.page(&format!("{FAIRNESS}/selection.csv?days=30&by=decision")).await);
    assert!(decided.is_empty(), "nothing is decided yet");
    let wrong = manager.get(&format!("{FAIRNESS}?jurisdiction=mars")).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);

    // What training tried stands beside the model that it is about.
    let mut connection = app.db.acquire().await.unwrap();
    let id = models::list(&mut *connection).await.unwrap().remove(0).id;
    let mut text = String::from("customer_age,income,velocity_6h,fraud\n");
    for row in 0..600_u32 {
        let (age, fraud) = (20 + row * 7 % 60, u32::from(row * 13 % 29 < 6));
        text.push_str(&format!(
            "{age},{},{},{fraud}\n",
            20_000 + row * 101 % 9_000 + fraud * 3_000,
            100 + row * 37 % 50 + age
        ));
    }
    let options = Options { most_trees: 20, forests: Some(1), ..Options::new("tried".to_owned(), "fraud".to_owned()) };
    let table = Table::read(text.as_bytes()).unwrap();
    let variants = less_discriminatory(&table, &options, "customer_age", 0.02).unwrap();
    models::keep_alternatives(&mut connection, id, &variants).await.unwrap();
    drop(connection);
    let listed = cells(&manager.page(&format!("{FAIRNESS}/alternatives.csv?days=30")).await);
    assert_eq!(listed.len(), variants.len());
    assert_eq!(listed[0][0], "the model itself");

    let form = [("jurisdiction", "uk"), ("by", "proposal")];
    let keep = format!("{FAIRNESS}/jurisdiction");
    let auditor = app.sign_in(Role::Auditor).await;
    assert_eq!(auditor.post_form(&keep, &form).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(manager.post_form(&keep, &form).await.status(), StatusCode::SEE_OTHER);
    assert!(auditor.page(FAIRNESS).await.contains("Equality Act 2010"));
    let officer = app.sign_in(Role::Officer).await;
    for page in [FAIRNESS, FACTORS, STABILITY] {
        assert_eq!(officer.get(page).await.status(), StatusCode::FORBIDDEN, "{page}");
        assert_eq!(auditor.get(page).await.status(), StatusCode::OK, "{page}");
    }
}

#[tokio::test]
async fn factors_are_drawn_one_alone_and_two_together() {
    let app = spawn().await;
    let manager = app.sign_in(Role::Manager).await;
    assert!(manager.page(FACTORS).await.contains("Needed: applications of this period"));
    labelled(&app, 24).await;
    let page = manager.page(&format!("{FACTORS}?days=30&factor=current_address_months_count&with=email_is_free")).await;
    let found = files(&manager, &page).await;
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["importance", "beeswarm", "dependence", "interaction", "pairs"]);
    for name in &names {
        assert!(page.contains(&format!("id=\"{name}-title\"")), "{name} is drawn");
    }
    let importance: Vec<f64> = found[0].1.iter().map(|row| row[1].parse().unwrap()).collect();
    assert!(importance.windows(2).all(|two| two[0] >= two[1]) && importance[0] > 0.0);
    let counted: i64 = found[2].1.iter().map(|row| row[1].parse::<i64>().unwrap()).sum();
    let (low, high): (i64, i64) = found[3]
        .1
        .iter()
        .fold((0, 0), |(low, high), row| (low + row[1].parse::<i64>().unwrap(), high + row[3].parse::<i64>().unwrap()));
    // A quarter has a free mailbox.
    assert_eq!((counted, low, high), (24, 18, 6));
    let wrong = manager.get(&format!("{FACTORS}?factor=shoe_size")).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().await.unwrap().contains("id=\"factor-error\""));
}

#[tokio::test]
async fn stability_is_followed_by_week_and_month_against_a_window() {
    let app = spawn().await;
    let manager = app.sign_in(Role::Manager).await;
    assert!(manager.page(STABILITY).await.contains("Needed: applications in the window of reference"));
    labelled(&app, 60).await;
    spread(&app, 80).await;
    let page = manager.page(&format!("{STABILITY}?days=90&by=week&factor=score")).await;
    let found = files(&manager, &page).await;
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["stability-score", "stability-factors", "stability-bins"]);
    for name in &names {
        assert!(page.contains(&format!("id=\"{name}-title\"")), "{name} is drawn");
    }
    let counted: i64 = found[0].1.iter().map(|row| row[1].parse::<i64>().unwrap()).sum();
    assert!((35..=40).contains(&counted), "two thirds are after the window: {counted}");
    let months = cells(&manager.page(&format!("{STABILITY}/stability-score.csv?days=90&by=month")).await);
    assert!(months.len() < found[0].1.len() && months.iter().all(|row| row[0].ends_with("-01")));
    // Parts of the index add up to it.
    let parts: f64 = found[2].1.iter().map(|row| row[3].parse::<f64>().unwrap()).sum();
    let newest: f64 = found[0].1.last().unwrap()[2].parse().unwrap();
    assert!((parts - newest).abs() < 1e-3, "{parts} {newest}");
    // Bands are the bank's own to choose.
    let strict =
        cells(&manager.page(&format!("{STABILITY}/stability-score.csv?days=90&watch=0.0001&act=0.0002")).await);
    assert!(strict.iter().all(|row| row[4] == "act"));
    let wrong = manager.get(&format!("{STABILITY}?watch=0.3&act=0.2")).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().await.unwrap().contains("id=\"act-error\""));
    let form = [("watch", "0.2"), ("act", "0.4"), ("from", ""), ("to", "")];
    let keep = format!("{STABILITY}/bands");
    assert_eq!(app.sign_in(Role::Auditor).await.post_form(&keep, &form).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(manager.post_form(&keep, &form).await.status(), StatusCode::SEE_OTHER);
    assert!(manager.page(STABILITY).await.contains("value=\"0.4\""));
}
