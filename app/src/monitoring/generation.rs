//! What the generator's runtime counted, as Prometheus families.

use candor_engine::generation::{GenerationMetrics, Histogram};
use prometheus::proto::{self, Bucket, LabelPair, Metric, MetricFamily, MetricType};

/// All families of one snapshot.
#[expect(clippy::cast_precision_loss, reason = "counts below 2^53 are exact")]
pub(super) fn families(counted: &GenerationMetrics) -> Vec<MetricFamily> {
    let gauges = [
        ("waiting", "Generations that wait for their first step.", counted.waiting),
        ("queue_capacity", "Generations that may wait.", counted.queue_capacity),
        ("running", "Sequences being generated.", counted.running),
        ("cache_blocks_used", "Blocks of the cache that sequences hold.", counted.blocks_used),
        ("cache_blocks", "Blocks of the cache, 16 tokens each.", counted.blocks),
    ];
    let totals = [
        ("finished_total", "Generations that ended by themselves.", counted.finished),
        ("cancelled_total", "Generations whose caller went away.", counted.cancelled),
        ("refused_total", "Generations refused because too many waited.", counted.refused),
        ("failed_total", "Generations that failed.", counted.failed),
        ("preempted_total", "Sequences that gave up their blocks and were read again.", counted.preempted),
        ("steps_total", "Steps of the model.", counted.steps),
        ("prompt_tokens_total", "Tokens of prompts.", counted.prompt_tokens),
        ("cached_tokens_total", "Tokens of prompts found in the cache.", counted.cached_tokens),
        ("generated_tokens_total", "Tokens generated.", counted.generated_tokens),
    ];
    let histograms = [
        ("queue_seconds", "Time from arrival to the first step.", &counted.queue_time),
        ("first_token_seconds", "Time from arrival to the first token.", &counted.first_token_time),
        ("inter_token_seconds", "Time between two tokens of one sequence.", &counted.inter_token_time),
        ("step_seconds", "Time of one step of the model.", &counted.step_time),
        ("batch_size", "Sequences in one step.", &counted.batch_size),
    ];
    let mut all = Vec::new();
    all.extend(gauges.map(|(name, help, value)| family(name, help, MetricType::GAUGE, vec![gauge(value as f64, &[])])));
    all.extend(totals.map(|(name, help, value)| family(name, help, MetricType::COUNTER, vec![counter(value, &[])])));
    all.extend(histograms.map(|(name, help, value)| family(name, help, MetricType::HISTOGRAM, vec![histogram(value)])));
    let violations = counted.expert_violation();
    let uneven = violations.iter().enumerate().zip(&counted.expert_load);
    let uneven: Vec<_> = uneven
        .filter(|(_, experts)| !experts.is_empty())
        .map(|((layer, violation), _)| gauge(*violation, &[("layer", layer)]))
        .collect();
    let experts = counted.expert_load.iter().enumerate().flat_map(|(layer, experts)| {
        experts
            .iter()
            .enumerate()
            .map(move |(expert, tokens)| counter(*tokens, &[("layer", layer), ("expert", expert)]))
    });
    let experts: Vec<_> = experts.collect();
    if !experts.is_empty() {
        let help = "How uneven the experts are loaded: the most loaded one over the mean, less 1.";
        all.push(family("expert_max_violation", help, MetricType::GAUGE, uneven));
        all.push(family("expert_tokens_total", "Tokens sent to each expert.", MetricType::COUNTER, experts));
    }
    all
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("candor_generation_{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn labelled(labels: &[(&str, usize)]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.to_string());
        pair
    });
    let mut metric = Metric::default();
    metric.set_label(pairs.collect());
    metric
}

fn gauge(value: f64, labels: &[(&str, usize)]) -> Metric {
    let mut gauge = proto::Gauge::default();
    gauge.set_value(value);
    let mut metric = labelled(labels);
    metric.set_gauge(gauge);
    metric
}

#[expect(clippy::cast_precision_loss, reason = "counts below 2^53 are exact")]
fn counter(value: u64, labels: &[(&str, usize)]) -> Metric {
    let mut counter = proto::Counter::default();
    counter.set_value(value as f64);
    let mut metric = labelled(labels);
    metric.set_counter(counter);
    metric
}

/// Buckets count everything up to their bound.
fn histogram(counted: &Histogram) -> Metric {
    let mut so_far = 0;
    let buckets = counted.bounds.iter().zip(&counted.counts).map(|(bound, count)| {
        so_far += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(so_far);
        bucket
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counted.counts.iter().sum());
    histogram.set_sample_sum(counted.sum);
    let mut metric = labelled(&[]);
    metric.set_histogram(histogram);
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_added_up_and_the_rest_counts() {
        let counted = Histogram { bounds: &[1.0, 2.0], counts: vec![3, 1, 2], sum: 9.5 };
        let family = family("batch_size", "Help.", MetricType::HISTOGRAM, vec![histogram(&counted)]);
        let text = prometheus::TextEncoder::new().encode_to_string(&[family]).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let name = "candor_generation_batch_size";
        assert_eq!(
            lines,
            [
                format!("{name}_bucket{{le=\"1\"}} 3"),
                format!("{name}_bucket{{le=\"2\"}} 4"),
                format!("{name}_bucket{{le=\"+Inf\"}} 6"),
                format!("{name}_sum 9.5"),
                format!("{name}_count 6"),
            ]
        );
    }
}
