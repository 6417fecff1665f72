//! The folder as AutoAWQ writes one: `qweight`, `qzeros` and `scales` of each map, everything else in 16 or 32 bits.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use super::AwqError;
use super::round::{Codes, Dense};
use crate::weights::Folder;
use crate::weights::awq::{PACKED, pack};
use crate::weights::stored::{GROUP, single_to_half};

/// Bytes from which on a shard is closed.
const SHARD: usize = 2 << 30;
/// What a folder has besides its weights, as far as it is there.
const OTHERS: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
];

struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Takes tensors and writes shards.
pub(super) struct Writer {
    out: PathBuf,
    pending: Vec<Tensor>,
    pending_bytes: usize,
    /// The tensors of each shard that was written.
    shards: Vec<Vec<String>>,
    /// Maps of 4 bits, and those that were kept because they do not fit.
    maps: (usize, Vec<String>),
    bytes: u64,
}

impl Writer {
    /// Into this folder.
    pub(super) fn new(out: &Path) -> Result<Self, AwqError> {
        std::fs::create_dir_all(out).map_err(|error| failed(out, &error.to_string()))?;
        let out = out.to_owned();
        Ok(Self { out, pending: Vec::new(), pending_bytes: 0, shards: Vec::new(), maps: (0, Vec::new()), bytes: 0 })
    }

    /// A map of 4 bits.
    pub(super) fn four_bits(&mut self, name: &str, weight: &Dense, codes: &Codes) -> Result<(), AwqError> {
        let (rows, columns, groups) = (weight.rows, weight.columns, weight.columns / GROUP);
        self.maps.0 += 1;
        let words = pack(&codes.codes, rows, columns);
        self.put(format!("{name}.qweight"), Dtype::I32, vec![columns, rows / PACKED], words)?;
        let zeros = pack(&codes.zeros, rows, groups);
        self.put(format!("{name}.qzeros"), Dtype::I32, vec![groups, rows / PACKED], zeros)?;
        // Group by group, where they were found row by row.
        let scale = |group: usize| codes.scales.iter().skip(group).step_by(groups.max(1));
        let scales = (0..groups).flat_map(|group| scale(group).flat_map(|s| single_to_half(*s).to_le_bytes()));
        self.put(format!("{name}.scales"), Dtype::F16, vec![groups, rows], scales.collect())
    }

    /// A map of 16 bits.
    pub(super) fn sixteen_bits(&mut self, name: &str, weight: &Dense) -> Result<(), AwqError> {
        self.maps.1.push(name.to_owned());
        let bytes = weight.values.iter().flat_map(|w| single_to_half(*w).to_le_bytes()).collect();
        self.put(format!("{name}.weight"), Dtype::F16, vec![weight.rows, weight.columns], bytes)
    }

    /// A map of 32 bits. Routers are: who is chosen hangs on small differences.
    pub(super) fn thirty_two_bits(&mut self, name: &str, weight: &Dense) -> Result<(), AwqError> {
        self.maps.1.push(name.to_owned());
        let bytes = weight.values.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.put(format!("{name}.weight"), Dtype::F32, vec![weight.rows, weight.columns], bytes)
    }

    /// Small weights, of 32 bits.
    pub(super) fn vector(&mut self, name: &str, values: &[f32]) -> Result<(), AwqError> {
        let bytes = values.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.put(name.to_owned(), Dtype::F32, vec![values.len()], bytes)
    }

    fn put(&mut self, name: String, dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>) -> Result<(), AwqError> {
        self.pending_bytes += bytes.len();
        self.pending.push(Tensor { name, dtype, shape, bytes });
        if self.pending_bytes >= SHARD { self.close() } else { Ok(()) }
    }

    fn shard(&self, number: usize) -> PathBuf {
        self.out.join(format!("shard-{number}.safetensors"))
    }

    fn close(&mut self) -> Result<(), AwqError> {
        let path = self.shard(self.shards.len());
        let views: Result<Vec<_>, _> = self
            .pending
            .iter()
            .map(|t| Ok((t.name.as_str(), TensorView::new(t.dtype, t.shape.clone(), &t.bytes)?)))
            .collect();
        let views = views.map_err(|error: safetensors::SafeTensorError| failed(&path, &error.to_string()))?;
        let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize_to_file(views, Some(format), &path)
            .map_err(|error| failed(&path, &error.to_string()))?;
        self.bytes += u64::try_from(self.pending_bytes).unwrap_or(0);
        self.shards.push(self.pending.drain(..).map(|tensor| tensor.name).collect());
        self.pending_bytes = 0;
        Ok(())
    }

    /// Writes the last shard, the index, `config.json` and the tokenizer; answers how many maps are of 4 bits, and bytes of
    /// all tensors.
    pub(super) fn finish(mut self, model: &Folder, mut config: Value) -> Result<(usize, u64), AwqError> {
        if !self.pending.is_empty() {
            self.close()?;
        }
        let count = self.shards.len();
        let mut map = BTreeMap::new();
        for (number, names) in self.shards.iter().enumerate() {
            let file = match count {
                1 => "model.safetensors".to_owned(),
                _ => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
            };
            let (from, to) = (self.shard(number), self.out.join(&file));
            std::fs::rename(&from, &to).map_err(|error| failed(&to, &error.to_string()))?;
            map.extend(names.iter().map(|name| (name.clone(), file.clone())));
        }
        let index = "model.safetensors.index.json";
        if count > 1 {
            let content = json!({ "metadata": { "total_size": self.bytes }, "weight_map": map });
            self.file(index, content.to_string().as_bytes())?;
        } else if self.out.join(index).exists() {
            // Left from a folder that was there before; it would name shards that are not.
            std::fs::remove_file(self.out.join(index)).map_err(|error| failed(&self.out, &error.to_string()))?;
        }
        if let Some(fields) = config.as_object_mut() {
            fields.remove("quantization");
            fields.insert("torch_dtype".to_owned(), json!("float16"));
            let kept: Vec<String> = self.kept();
            let how = json!({ "quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": true,
                              "version": "gemm", "modules_to_not_convert": kept });
            fields.insert("quantization_config".to_owned(), how);
        }
        let pretty = serde_json::to_string_pretty(&config).map_err(|error| failed(&self.out, &error.to_string()))?;
        self.file("config.json", pretty.as_bytes())?;
        for file in OTHERS.into_iter().filter(|file| model.has(file)) {
            self.file(file, &model.read(file)?)?;
        }
        Ok((self.maps.0, self.bytes))
    }

    /// The names that say which maps stay as they are: the part after the layer's number, once.
    fn kept(&self) -> Vec<String> {
        let short = |name: &String| {
            let rest = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
            rest.map_or_else(|| name.clone(), |(_, rest)| rest.to_owned())
        };
        let mut names: Vec<String> =
            self.maps.1.iter().map(short).filter(|name| name != "model.embed_tokens").collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Result<(), AwqError> {
        let path = self.out.join(name);
        std::fs::write(&path, bytes).map_err(|error| failed(&path, &error.to_string()))
    }
}

fn failed(path: &Path, reason: &str) -> AwqError {
    let file = path.file_name().unwrap_or(path.as_os_str());
    AwqError::File { file: file.to_string_lossy().into_owned(), reason: reason.to_owned() }
}
