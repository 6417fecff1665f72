use candle_core::{Device, Tensor};
use rand::Rng;

use super::*;
use crate::backend::cpu::Crew;
use crate::layers::Precision;
use crate::models::intents::{IntentAdapter, OWN};
use crate::models::moe_encoder::{MoeEncoder, Workspace};
use crate::training::lora::Lora;
use crate::training::student::values;
use crate::weights;

const TEXTS: [&str; 5] = [
    "I lost my card",
    "what is the exchange rate for a transfer to Poland, and how long will the money need?",
    "ok",
    "My mortgage rate ends in May; what would a new one for ten years cost me each month?",
    "",
];

fn ids(tokens: &Tokens) -> Vec<Vec<u32>> {
    TEXTS.iter().map(|text| tokens.encode(text).unwrap()).collect()
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn rows(labels: &[(&str, &[&str])]) -> Vec<Labelled> {
    let of = |label: &str, text: &&str| Labelled { text: (*text).to_owned(), label: label.to_owned() };
    labels.iter().flat_map(|(label, texts)| texts.iter().map(|text| of(label, text)).collect::<Vec<_>>()).collect()
}

/// Adapters that say something, so that a wrong place or factor shows.
fn stir(lora: &Lora) {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for (_, up) in lora.maps.values() {
        let values: Vec<f32> = (0..up.as_tensor().elem_count()).map(|_| rng.random_range(-0.1..0.1)).collect();
        up.set(&Tensor::from_vec(values, up.as_tensor().shape(), &Device::Cpu).unwrap()).unwrap();
    }
}

#[test]
fn the_training_form_is_the_serving_encoder_with_and_without_an_adapter() {
    let folder = weights::encoder_inside();
    let encoder = TrainingEncoder::open(&folder).unwrap();
    let tokens = Tokens::open(&folder, encoder.config().max_tokens).unwrap();
    let ids = ids(&tokens);
    let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let config = encoder.config();
    let lora = Lora::new((config.num_hidden_layers, config.hidden_size), &Target::ALL, (4, 8.0), 0.5, 3).unwrap();
    stir(&lora);

    let (mut low_rank, written) = (BTreeMap::new(), tempfile::tempdir().unwrap());
    for ((layer, target), (down, up)) in &lora.maps {
        low_rank.insert(format!("{}.lora_A.weight", target.tensor(*layer)), values(down).unwrap());
        low_rank.insert(format!("{}.lora_B.weight", target.tensor(*layer)), values(up).unwrap());
    }
    let labels: Vec<String> = ["a", "b", OUT_OF_SCOPE].map(str::to_owned).to_vec();
    let classifier = BTreeMap::from([
        ("weight".to_owned(), (vec![3, 2 * config.hidden_size], vec![0.01; 6 * config.hidden_size])),
        ("bias".to_owned(), (vec![3], vec![1.0, 2.0, 3.0])),
    ]);
    let trained = Trained {
        report: Report::default(),
        card: String::new(),
        lora: LoraConfig {
            base_model_name_or_path: config.version.clone(),
            peft_type: "LORA".to_owned(),
            task_type: "FEATURE_EXTRACTION".to_owned(),
            r: 4,
            lora_alpha: 8.0,
            lora_dropout: 0.5,
            target_modules: Target::ALL.map(|target| target.module().to_owned()).to_vec(),
            bias: "none".to_owned(),
            fan_in_fan_out: false,
            inference_mode: true,
            use_rslora: false,
            use_dora: false,
        },
        low_rank,
        head: HeadFile {
            version: "own-1".to_owned(),
            out_of_scope: OUT_OF_SCOPE.to_owned(),
            head: HeadConfig { labels, temperature: 1.0, threshold: 0.2 },
        },
        classifier,
        confusion: Vec::new(),
    };
    trained.write(written.path()).unwrap();
    let adapter = IntentAdapter::read(written.path()).unwrap();

    let mut plain = Vec::new();
    for (lora, adapter) in [(None, None), (Some(&lora), Some(&adapter))] {
        let serving = MoeEncoder::open(&folder, Precision::Float32, adapter).unwrap();
        let served = serving.forward(&ids, &mut Workspace::default(), &mut Crew::alone()).unwrap();
        let features = encoder.forward(&ids, lora, None).unwrap();
        let logits = encoder.logits(&features).unwrap();
        let shipped: Vec<&str> = encoder.config().heads.keys().map(String::as_str).collect();
        for (text, served) in served.iter().enumerate() {
            let mut mean = features.mean.get(text).unwrap().to_vec1::<f32>().unwrap();
            let length = crate::backend::cpu::dot(&mean, &mean).sqrt();
            mean.iter_mut().for_each(|m| *m /= length);
            assert!(furthest(&mean, &served.embedding()) < 1e-4, "{}", TEXTS[text]);
            for (head, name) in serving.heads().enumerate() {
                let expected = serving.logits(head, served);
                if name == OWN {
                    assert_eq!(expected.len(), 3);
                    continue;
                }
                let place = shipped.iter().position(|head| *head == name).unwrap();
                let found = logits[place].get(text).unwrap().to_vec1::<f32>().unwrap();
                assert!(furthest(&found, &expected) < 1e-4, "{name}: {}", TEXTS[text]);
            }
        }
        plain.push(served[1].embedding());
    }
    assert!(furthest(&plain[0], &plain[1]) > 1e-2, "the adapter says something");

    let mut other = adapter;
    assert_eq!(
        MoeEncoder::open(&folder, Precision::Int8, Some(&other)).unwrap().config().out_of_scope[OWN],
        OUT_OF_SCOPE
    );
    other = {
        let file = written.path().join("adapter_config.json");
        let text = std::fs::read_to_string(&file).unwrap().replace(&config.version, "encoder-0");
        std::fs::write(&file, text).unwrap();
        IntentAdapter::read(written.path()).unwrap()
    };
    let error = MoeEncoder::open(&folder, Precision::Int8, Some(&other)).err().unwrap().to_string();
    assert!(error.contains("train it again"), "{error}");
}

/// A variable that candle drops on the way would stay as it was and nobody would notice.
#[test]
fn every_variable_gets_a_gradient_that_is_not_nothing() {
    let folder = weights::encoder_inside();
    let encoder = TrainingEncoder::open(&folder).unwrap();
    let tokens = Tokens::open(&folder, encoder.config().max_tokens).unwrap();
    let recipe = Recipe { rank: 2, targets: Target::ALL.to_vec(), ..Recipe::default() };
    let rows = rows(&[("card", &TEXTS[..2]), ("house", &[TEXTS[3], "how much can I borrow to buy a flat?"])]);
    let labels = labels_of(&rows).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let many: Vec<Labelled> = rows.iter().cycle().take(12).cloned().collect();
    let set = Set::of(&many, &labels, (&encoder, &tokens), &[], &recipe, &mut rng).unwrap();
    let student = Student::new(&encoder, &set, &labels, &recipe).unwrap();
    stir(&student.lora);
    let places = set.places(|text| !text.general || text.label.is_some());
    let loss = student.loss(&set, &places[..24], &recipe, &mut rng).unwrap();
    let gradients = loss.backward().unwrap();
    let mut seen = 0;
    for variable in student.variables() {
        let gradient = gradients.get(&variable).expect("a gradient");
        assert_eq!(gradient.dims(), variable.as_tensor().dims());
        let size = gradient.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(size > 1e-9 && size.is_finite(), "{size}");
        seen += 1;
    }
    assert_eq!(seen, 2 * 4 * encoder.config().num_hidden_layers + 2);
}

#[test]
fn data_that_does_not_suffice_is_refused_with_the_reason() {
    let refused = |rows: &[Labelled]| labels_of(rows).unwrap_err().to_string();
    assert!(refused(&rows(&[("a", &["one", "two"]), (OUT_OF_SCOPE, &["three"])])).contains("two labels"));
    assert!(refused(&rows(&[("a", &["one", "two"]), ("b", &["three"])])).contains("the label b has one example"));
    assert!(refused(&rows(&[("a", &["one", " "])])).starts_with("row 2"));
}

/// The whole way: what is learned is served by the engine, beside what it knew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_intents_are_learned_and_served() {
    let examples = rows(&[
        (
            "mortgage_renewal",
            &[
                "my mortgage rate ends next year, what now",
                "I want to renew my mortgage",
                "the fixed period of my home loan is running out",
                "can I extend the mortgage on our house",
                "what happens when the fixed rate on my mortgage ends",
                "new interest rate for my existing mortgage please",
            ],
        ),
        (
            "safe_deposit",
            &[
                "do you have a safe deposit box in Berlin",
                "I need a locker for my jewellery",
                "what does a safe deposit box cost",
                "I lost the key of my deposit box",
                "can my wife open our safe deposit box",
                "I want to cancel my safe deposit box",
            ],
        ),
        (
            "gold",
            &[
                "can I buy gold coins from you",
                "what is the price of a gold bar today",
                "I want to sell my Krugerrand",
                "do you sell silver and gold",
                "how do I buy a hundred grams of gold",
                "where is the gold I bought stored",
            ],
        ),
    ]);
    let recipe = Recipe { epochs: 4, ..Recipe::default() };
    let material = Material { version: "own-1".to_owned(), ..Material::default() };
    let mut steps = 0;
    let trained = train(&examples, &material, &recipe, &mut |progress| steps = progress.step).unwrap();
    assert!(steps >= 3 && trained.report.foreign_texts > 100, "{:?}", trained.report);
    assert!(trained.report.cosine > 0.97 && trained.report.agreement["desk"] > 0.95, "{:?}", trained.report);
    let folder = tempfile::tempdir().unwrap();
    trained.write(folder.path()).unwrap();

    let options = crate::Options { intents: Some(folder.path().to_owned()), ..crate::Options::default() };
    let engine = crate::Engine::load(&options).unwrap();
    for (text, intent) in [
        ("our mortgage has to be renewed in May", "mortgage_renewal"),
        ("how much is a deposit box for my documents", "safe_deposit"),
        ("I'd like to buy some gold", "gold"),
        ("I lost my card, please block it", "block_card"),
        ("yes please", "affirm"),
        ("let me speak to a real person", "talk_to_human"),
    ] {
        let understood = engine.understand(text).await.unwrap();
        assert_eq!(understood.intent, intent, "{text}: {:?}", understood.alternatives);
        assert!(understood.model_version.ends_with(" + own-1"));
    }
    let report = crate::understanding::evaluate::evaluate_intents(&engine, OWN, &examples).await.unwrap();
    assert!(report.accuracy > 0.9, "{report:?}");
}
