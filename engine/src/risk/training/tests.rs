use super::super::generator::Generator;
use super::*;

/// A table of generated applications, labelled as a bank would know them half a year later.
fn table(applications: u32) -> Table {
    let generated = Generator { applications, fraud_rate: 0.05, ..Generator::default() }.run();
    let rows = generated.iter().map(|one| (&one.application, one.label_as_of(22.0)));
    Table::of_applications(rows, "fraud")
}

fn options() -> Options {
    Options { most_trees: 40, ..Options::new("test-1", "fraud") }
}

#[test]
fn training_is_reproducible_bit_for_bit_and_good_and_additive() {
    let table = table(6_000);
    let trained = train(&table, &options()).unwrap();
    assert_eq!(trained.bytes, train(&table, &options()).unwrap().bytes);
    let report = &trained.report;
    assert!(report.time_ordered && report.test.auc > 0.8, "{:?}", report.test);
    assert!(report.test.ece < 0.03, "{:?}", report.test);

    let names: Vec<&str> = trained.model.features().iter().map(|feature| feature.factor.name.as_str()).collect();
    assert!(!names.contains(&"customer_age") && !names.contains(&"month") && !names.contains(&"fraud"), "{names:?}");
    assert_eq!(report.groups.len(), 3, "three age groups: {:?}", report.groups);

    let matrix = encode(&table, trained.model.features());
    let (mut scratch, mut out) = (trained.model.scratch(), vec![0.0; names.len()]);
    for row in matrix.rows() {
        let row = row.to_vec();
        trained.model.explainer().explain(&row, &mut scratch, &mut out);
        let sum = trained.model.baseline() + out.iter().sum::<f64>();
        assert!((sum - trained.model.ensemble().margin(&row)).abs() < 1e-9);
    }
}

#[test]
fn any_table_with_a_label_is_learned_from() {
    let mut csv = String::from("id,colour,size,Sex,bad,constant\n");
    for row in 0..3000 {
        let (colour, size) = (["red", "green", "blue", ""][row % 4], (row * 37) % 101);
        let bad = (colour == "red" && size > 40) || row % 23 == 0;
        let size = if row % 10 == 0 { String::new() } else { size.to_string() };
        let bad = if bad { "yes" } else { "no" };
        csv += &format!("{row},{colour},{size},{},{bad},7\n", ["f", "m"][row % 2]);
    }
    let table = Table::read(csv.as_bytes()).unwrap();
    let trained = train(&table, &Options { most_trees: 40, ..Options::new("any", "bad") }).unwrap();
    let names: Vec<&str> = trained.model.features().iter().map(|feature| feature.factor.name.as_str()).collect();
    assert_eq!(names, ["colour", "size"]);
    let left_out: Vec<&str> = trained.report.left_out.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left_out, ["id", "Sex", "constant"]);
    assert!(!trained.report.time_ordered && trained.report.test.auc > 0.8, "{:?}", trained.report.test);
    assert!(trained.model.accepts_applications().is_err());
    assert!(trained.card().contains("| Sex | f |"), "{}", trained.card());
}

#[test]
fn tables_that_cannot_be_learned_from_are_refused_in_words() {
    let refused = |csv: &str, label: &str| {
        train(&Table::read(csv.as_bytes()).unwrap(), &Options::new("x", label)).unwrap_err().to_string()
    };
    assert_eq!(refused("a,b\n1,0\n", "c"), r#"the table has no column "c""#);
    assert!(refused("a,b\n1,maybe\n", "b").contains(r#"row 1: "maybe" is no label"#));
    assert!(refused("a,b\n1,1\n2,0\n", "b").contains("at least 5 of both kinds"));
}

#[test]
fn more_fraud_on_the_device_never_lowers_the_score() {
    let table = table(6_000);
    let trained = train(&table, &options()).unwrap();
    for model in [trained.model, Model::shipped().unwrap()] {
        let at = model.features().iter().position(|feature| feature.factor.name == "device_fraud_count").unwrap();
        let applications = Generator { applications: 500, fraud_rate: 0.3, ..Generator::default() }.run();
        let mut moved = 0;
        for one in applications {
            let mut row = model.encode(&one.application);
            let margins = [0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 20.0].map(|frauds| {
                row[at] = frauds;
                model.ensemble().margin(&row)
            });
            assert!(margins.windows(2).all(|pair| pair[0] <= pair[1]), "{margins:?}");
            moved += usize::from(margins[0] < margins[6]);
        }
        // Few of the test's own rows share a device; the shipped model has seen many.
        assert!(moved > 0 || model.version() == "test-1", "the factor counts at all");
    }
}

#[test]
fn a_schema_settles_what_looking_cannot_tell() {
    let mut csv = String::from("code,late,applied,state\n");
    for row in 0..2000 {
        let (code, late) = (row % 4, (row * 7) % 6);
        let bad = code == 2 || late + row % 5 > 7;
        let (day, state) = (1 + row * 27 / 2000, if bad { "charged off" } else { "paid" });
        csv += &format!("{code},{late},2026-03-{day:02},{state}\n");
    }
    let schema = Schema::parse(
        r#"
        label = "state"
        positive = ["charged off"]
        time = "applied"
        [columns.code]
        kind = "category"
        [columns.late]
        label = "Late payments"
        monotone = "increasing"
        code = "LAT-1"
        reason = "You paid late."
        "#,
    )
    .unwrap();
    let table = Table::read_as(csv.as_bytes(), &schema).unwrap();
    let mut options = Options { most_trees: 40, ..Options::new("schema", "") };
    schema.apply(&mut options);
    let trained = train(&table, &options).unwrap();
    assert!(trained.report.time_ordered && trained.report.test.auc > 0.95, "{:?}", trained.report.test);
    let features = trained.model.features();
    assert_eq!((features[0].factor.kind, features[1].factor.code.as_str()), (Kind::Category, "LAT-1"));
    for code in 0..4 {
        let margins =
            [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].map(|late| trained.model.ensemble().margin(&[f64::from(code), late]));
        assert!(margins.windows(2).all(|pair| pair[0] <= pair[1]), "{margins:?}");
    }
}

#[test]
fn weights_find_more_and_calibration_makes_them_true_again() {
    let table = table(6_000);
    let weighed = Options { class_weight: ClassWeight::Balanced, forests: Some(2), test_percent: 0, ..options() };
    let trained = train(&table, &Options { time: None, ignore: vec!["month".to_owned()], ..weighed }).unwrap();
    let report = &trained.report;
    assert!(!report.unseen && report.forests == 2, "{:?} {}", report.unseen, report.forests);
    // Ten times the weight on one row in twenty would raise every probability; calibration takes that back.
    assert!(report.test.ece < 0.02 && report.test.auc > 0.8, "{:?}", report.test);
    assert_eq!(report.calibrations.len(), 3);
    assert!(trained.card().contains("held out while shape and calibration were chosen"));
}

#[test]
fn stand_ins_are_left_out_in_turn_and_a_model_that_finds_too_little_is_never_better() {
    let mut csv = String::from("postcode_kind,debt,sex,bad\n");
    for row in 0..6000_u32 {
        let draw = row.wrapping_mul(2_654_435_761) >> 16;
        let (woman, debt) = (row % 2 == 0, draw % 50);
        // The postcode tells little of debt and much of sex.
        let stand_in = if draw % 10 == 0 { !woman } else { woman };
        let bad = debt + if woman { 6 } else { 0 } + draw % 7 > 46;
        csv += &format!(
            "{},{debt},{},{}\n",
            ["a", "b"][usize::from(stand_in)],
            ["m", "f"][usize::from(woman)],
            u8::from(bad)
        );
    }
    let table = Table::read(csv.as_bytes()).unwrap();
    let options = Options { most_trees: 60, forests: Some(1), ..Options::new("fair", "bad") };
    let variants = less_discriminatory(&table, &options, "sex", 0.05).unwrap();
    assert_eq!(variants[0].what, "the model itself");
    let first = variants[0].clone();
    let tried = |what: &str| variants.iter().find(|variant| variant.what == what).unwrap();
    assert_eq!(tried("without postcode_kind").options.ignore, ["postcode_kind"]);
    // The postcode alone finds nobody: no gap between groups makes up for that.
    let blind = tried("without debt");
    assert!(blind.recall.share < first.recall.share - 0.05 && blind.gap <= first.gap && !blind.better, "{blind:?}");
    assert!(variants.iter().any(|variant| variant.what.starts_with("rows weighed by sex")));
    for variant in variants.iter().skip(1) {
        let near = variant.recall.share >= first.recall.share - 0.05;
        assert_eq!(variant.better, near && variant.gap < first.gap, "{variant:?}");
    }
}
