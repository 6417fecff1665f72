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
