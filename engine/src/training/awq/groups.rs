//! What a model is made of: which maps read the same numbers, what those come out of, and the weights of all of them.

use std::collections::BTreeMap;

use super::AwqError;
use super::round::Dense;
use crate::weights::{Checkpoint, Stored};

/// What has to be known of a model's kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    /// Layers.
    pub(super) layers: usize,
    /// Numbers of a latent, where attention has some (DeepSeek).
    pub(super) latent: Option<usize>,
    /// Of a head, the numbers of keys without position and of values.
    head: (usize, usize),
    /// Whether the embedding serves as the head.
    pub(super) tied: bool,
}

impl Kind {
    /// Reads `config.json`.
    pub(super) fn of(config: &serde_json::Value, checkpoint: &Checkpoint<'_>) -> Result<Self, AwqError> {
        let number = |key: &str| -> Result<usize, AwqError> {
            let found = config.get(key).and_then(serde_json::Value::as_u64).and_then(|n| usize::try_from(n).ok());
            found.ok_or_else(|| AwqError::Checkpoint(format!("config.json: {key} is missing")))
        };
        if checkpoint.names().any(|name| name.ends_with(".qweight")) {
            return Err(AwqError::Checkpoint("its weights are of 4 bits already".to_owned()));
        }
        let kind = config.get("model_type").and_then(serde_json::Value::as_str).unwrap_or_default();
        let (latent, head) = match kind {
            "deepseek_v2" | "deepseek_v3" => {
                (Some(number("kv_lora_rank")?), (number("qk_nope_head_dim")?, number("v_head_dim")?))
            }
            "qwen3_moe" => (None, (0, 0)),
            other => {
                let known = "deepseek_v2, deepseek_v3 and qwen3_moe are supported";
                return Err(AwqError::Checkpoint(format!("config.json: model_type is {other:?}; {known}")));
            }
        };
        let tied = config.get("tie_word_embeddings").and_then(serde_json::Value::as_bool).unwrap_or(false);
        Ok(Self { layers: number("num_hidden_layers")?, latent, head, tied })
    }
}

/// Where the inverse of a group's scales goes, so that the function stays as it is.
pub(super) enum Source {
    /// Into the weight of a norm.
    Norm(String),
    /// Into rows of a map: entry `i` is the row that input `i` comes from.
    Rows(String, Vec<usize>),
    /// Nowhere: the group is rounded as it is.
    Nowhere,
}

/// Which tokens a map reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tokens {
    All,
    /// Those that were sent to this expert, by their weights.
    Expert(u32),
}

/// Maps that read the same numbers.
pub(super) struct Group {
    pub(super) maps: Vec<(String, Tokens)>,
    /// Reads the same, and keeps full precision.
    pub(super) router: Option<String>,
    pub(super) source: Source,
    pub(super) reads: Reads,
}

/// Which numbers a group reads.
pub(super) enum Reads {
    Attention,
    Inner(&'static str),
    FeedForward,
    /// What stands between `gate` and `down` of a gated block: `silu(gate · x) ∘ up · x`.
    Between {
        gate: String,
        up: String,
    },
}

/// A layer's maps and small weights, in full precision.
pub(super) struct Layer<'c, 'p> {
    pub(super) checkpoint: &'c Checkpoint<'p>,
    pub(super) maps: BTreeMap<String, Dense>,
    /// By the tensor's name.
    pub(super) vectors: BTreeMap<String, Vec<f32>>,
}

impl<'c, 'p> Layer<'c, 'p> {
    /// Nothing read yet.
    pub(super) fn new(checkpoint: &'c Checkpoint<'p>) -> Self {
        Self { checkpoint, maps: BTreeMap::new(), vectors: BTreeMap::new() }
    }

    /// Reads a map, from a tensor of its own or from a stack of experts.
    pub(super) fn map(&mut self, name: &str) -> Result<(), AwqError> {
        let shape = |tensor: &str| self.checkpoint.shape(tensor).map(<[usize]>::to_vec);
        let stored = match shape(&format!("{name}.weight")).as_deref() {
            Some([rows, columns]) => self.checkpoint.matrix(name, *rows, *columns)?,
            _ => self.stacked(name)?.ok_or_else(|| missing(&format!("{name}.weight")))?,
        };
        let mut dense =
            Dense { rows: stored.rows, columns: stored.columns, values: vec![0.0; stored.rows * stored.columns] };
        dense.lines_mut().enumerate().for_each(|(row, line)| stored.row(row, line));
        self.maps.insert(name.to_owned(), dense);
        let bias = format!("{name}.bias");
        if self.checkpoint.has(&bias) { self.vector(&bias) } else { Ok(()) }
    }

    /// `…experts.N.gate_proj` and so on out of `…experts.gate_up_proj` and `…experts.down_proj`.
    fn stacked(&self, name: &str) -> Result<Option<Stored>, AwqError> {
        let Some((stem, part)) = name.rsplit_once('.') else { return Ok(None) };
        let Some((stem, expert)) = stem.rsplit_once('.') else { return Ok(None) };
        let Ok(expert) = expert.parse::<usize>() else { return Ok(None) };
        let stack = format!("{stem}.{}", if part == "down_proj" { part } else { "gate_up_proj" });
        let Some(&[experts, rows, columns]) = self.checkpoint.shape(&stack) else { return Ok(None) };
        let range = match part {
            "gate_proj" => 0..rows / 2,
            "up_proj" => rows / 2..rows,
            _ => 0..rows,
        };
        Ok(Some(self.checkpoint.stacked(&stack, (expert, experts), range, (rows, columns))?))
    }

    pub(super) fn vector(&mut self, name: &str) -> Result<(), AwqError> {
        let shape = self.checkpoint.shape(name).ok_or_else(|| missing(name))?.to_vec();
        self.vectors.insert(name.to_owned(), self.checkpoint.vector(name, &shape)?);
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.checkpoint.has(&format!("{name}.weight"))
    }

    /// The groups of layer `number`, with everything in them read.
    pub(super) fn groups(&mut self, kind: &Kind, number: usize) -> Result<Vec<Group>, AwqError> {
        let (attention, block) = (format!("model.layers.{number}.self_attn"), format!("model.layers.{number}.mlp"));
        let before = format!("model.layers.{number}.input_layernorm.weight");
        let between = format!("model.layers.{number}.post_attention_layernorm.weight");
        let mut groups = Vec::new();
        let mut add = |names: Vec<String>, source: Source, reads: Reads| {
            let maps = names.into_iter().map(|name| (name, Tokens::All)).collect();
            groups.push(Group { maps, router: None, source, reads });
        };
        let own = |name: &str| format!("{attention}.{name}");
        if kind.latent.is_some() {
            let low = self.has(&own("q_a_proj"));
            let first = if low { "q_a_proj" } else { "q_proj" };
            add(vec![own(first), own("kv_a_proj_with_mqa")], Source::Norm(before), Reads::Attention);
            if low {
                let norm = Source::Norm(own("q_a_layernorm.weight"));
                add(vec![own("q_b_proj")], norm, Reads::Inner("q_b_proj"));
            }
            add(vec![own("kv_b_proj")], Source::Norm(own("kv_a_layernorm.weight")), Reads::Inner("kv_b_proj"));
            // A head's values are the last rows of its part of `kv_b_proj`, and the inputs of `o_proj` in the same order.
            self.map(&own("o_proj"))?;
            let inputs = self.maps.get(&own("o_proj")).map_or(0, |map| map.columns);
            let (content, value) = (kind.head.0, kind.head.1.max(1));
            let row = |i: usize| i / value * (content + value) + content + i % value;
            let source = Source::Rows(own("kv_b_proj"), (0..inputs).map(row).collect());
            add(vec![own("o_proj")], source, Reads::Inner("o_proj"));
        } else {
            add(["q_proj", "k_proj", "v_proj"].map(own).to_vec(), Source::Norm(before), Reads::Attention);
            self.map(&own("o_proj"))?;
            self.map(&own("v_proj"))?;
            let inputs = self.maps.get(&own("o_proj")).map_or(0, |map| map.columns);
            let values = self.maps.get(&own("v_proj")).map_or(0, |map| map.rows);
            // Where several heads of queries share one of values, one scale would have to serve all of them.
            let alone = inputs == values;
            let source = if alone { Source::Rows(own("v_proj"), (0..inputs).collect()) } else { Source::Nowhere };
            for norm in ["q_norm.weight", "k_norm.weight"] {
                self.vector(&own(norm))?;
            }
            add(vec![own("o_proj")], source, Reads::Inner("o_proj"));
        }
        groups.extend(self.feed_forward(&block, between)?);
        for group in &groups {
            for name in group.maps.iter().map(|(name, _)| name).chain(&group.router) {
                self.map(name)?;
            }
            if let Source::Norm(norm) = &group.source {
                self.vector(norm)?;
            }
        }
        Ok(groups)
    }

    /// The groups of a feed-forward part, dense or a mixture.
    fn feed_forward(&mut self, block: &str, norm: String) -> Result<Vec<Group>, AwqError> {
        let router = format!("{block}.gate");
        let mut blocks = Vec::new();
        let mixture = self.has(&router);
        if mixture {
            let experts = self.checkpoint.shape(&format!("{router}.weight")).and_then(|shape| shape.first().copied());
            let experts = u32::try_from(experts.unwrap_or(0)).unwrap_or(0);
            blocks.extend((0..experts).map(|e| (format!("{block}.experts.{e}"), Tokens::Expert(e))));
            if self.has(&format!("{block}.shared_experts.gate_proj")) {
                blocks.push((format!("{block}.shared_experts"), Tokens::All));
            }
            let bias = format!("{router}.e_score_correction_bias");
            if self.checkpoint.has(&bias) {
                self.vector(&bias)?;
            }
        } else {
            blocks.push((block.to_owned(), Tokens::All));
        }
        let first = blocks
            .iter()
            .flat_map(|(block, tokens)| ["gate_proj", "up_proj"].map(|name| (format!("{block}.{name}"), *tokens)));
        let router = mixture.then_some(router);
        let mut groups =
            vec![Group { maps: first.collect(), router, source: Source::Norm(norm), reads: Reads::FeedForward }];
        for (block, tokens) in blocks {
            let (gate, up) = (format!("{block}.gate_proj"), format!("{block}.up_proj"));
            self.map(&up)?;
            let inner = self.maps.get(&up).map_or(0, |map| map.rows);
            groups.push(Group {
                maps: vec![(format!("{block}.down_proj"), tokens)],
                router: None,
                source: Source::Rows(up.clone(), (0..inner).collect()),
                reads: Reads::Between { gate, up },
            });
        }
        Ok(groups)
    }

    /// Whether all of a group's maps can be packed.
    pub(super) fn fits(&self, group: &Group) -> bool {
        group.maps.iter().all(|(name, _)| self.maps.get(name).is_some_and(Dense::fits))
    }
}

/// The error for a tensor that is not there.
pub(super) fn missing(name: &str) -> AwqError {
    AwqError::Checkpoint(format!("tensor {name} is missing"))
}
