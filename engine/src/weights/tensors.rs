//! Tensors of safetensors shards, as `f32`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::stored::half_to_single;
use super::{Error, Folder};

/// The shards of one model. Tensors are turned into `f32` when asked for.
pub(crate) struct Tensors {
    shards: Vec<Cow<'static, [u8]>>,
    shard_of: BTreeMap<String, usize>,
    /// Tensors put in the place of those in the shards, or beside them.
    replaced: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Tensors {
    /// Opens the shards that `model.safetensors.index.json` names, or the single `model.safetensors`.
    ///
    /// # Errors
    /// [`Error::File`] when a shard is missing or is no safetensors file.
    pub(crate) fn open(folder: &Folder) -> Result<Self, Error> {
        let mut files: Vec<String> = match folder.read_json::<Index>("model.safetensors.index.json") {
            Ok(index) => index.weight_map.into_values().collect(),
            Err(_) => vec!["model.safetensors".to_owned()],
        };
        files.sort_unstable();
        files.dedup();
        Self::of_files(folder, &files)
    }

    /// Opens one safetensors file.
    ///
    /// # Errors
    /// [`Error::File`] when it is missing or is no safetensors file.
    pub(crate) fn open_file(folder: &Folder, file: &str) -> Result<Self, Error> {
        Self::of_files(folder, &[file.to_owned()])
    }

    fn of_files(folder: &Folder, files: &[String]) -> Result<Self, Error> {
        let (mut shards, mut shard_of) = (Vec::with_capacity(files.len()), BTreeMap::new());
        for (number, file) in files.iter().enumerate() {
            let bytes = folder.read(file)?;
            let parsed = SafeTensors::deserialize(&bytes)
                .map_err(|e| Error::File { file: file.clone(), reason: e.to_string() })?;
            shard_of.extend(parsed.names().into_iter().map(|name| (name.to_owned(), number)));
            shards.push(bytes);
        }
        Ok(Self { shards, shard_of, replaced: BTreeMap::new() })
    }

    /// Names of the tensors in the files.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.shard_of.keys().map(String::as_str)
    }

    /// Whether the files have a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.shard_of.contains_key(name)
    }

    /// Puts a tensor in the place of the file's, or beside them.
    pub(crate) fn replace(&mut self, name: String, shape: Vec<usize>, values: Vec<f32>) {
        self.replaced.insert(name, (shape, values));
    }

    fn with<T>(&self, name: &str, use_view: impl FnOnce(TensorView<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let missing = || Error::Missing(name.to_owned());
        let shard = self.shard_of.get(name).and_then(|&number| self.shards.get(number)).ok_or_else(missing)?;
        let parsed = SafeTensors::deserialize(shard)
            .map_err(|e| Error::File { file: name.to_owned(), reason: e.to_string() })?;
        use_view(parsed.tensor(name).map_err(|_| missing())?)
    }

    /// The tensor `name` of the given shape, row-major.
    ///
    /// `F32` and `F16` are read as they are. `I8` is multiplied by `name.scale`, one factor for each row: the scale's
    /// shape is the tensor's without its last dimension.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Mismatch`].
    pub(crate) fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        if let Some((found, values)) = self.replaced.get(name) {
            if found != shape {
                return Err(mismatch(name, format!("{shape:?}"), format!("{found:?}")));
            }
            return Ok(values.clone());
        }
        let (mut values, quantised) = self.with(name, |view| {
            if view.shape() != shape {
                return Err(mismatch(name, format!("{shape:?}"), format!("{:?}", view.shape())));
            }
            Ok((decode(name, &view)?, view.dtype() == Dtype::I8))
        })?;
        if quantised {
            let (width, rows) = shape.split_last().ok_or_else(|| Error::Missing(name.to_owned()))?;
            let scales = self.get(&format!("{name}.scale"), rows)?;
            for (row, scale) in values.chunks_exact_mut((*width).max(1)).zip(&scales) {
                row.iter_mut().for_each(|value| *value *= scale);
            }
        }
        Ok(values)
    }
}

fn mismatch(name: &str, expected: String, found: String) -> Error {
    Error::Mismatch { name: name.to_owned(), expected, found }
}

fn decode(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, Error> {
    let bytes = view.data();
    match view.dtype() {
        Dtype::F32 => Ok(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        Dtype::F16 => Ok(bytes.as_chunks::<2>().0.iter().map(|b| half_to_single(u16::from_le_bytes(*b))).collect()),
        Dtype::I8 => Ok(bytes.iter().map(|b| f32::from(i8::from_le_bytes([*b]))).collect()),
        other => Err(mismatch(name, "F32, F16 or I8".to_owned(), format!("{other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn write(folder: &std::path::Path) {
        let (int8, scale, half) =
            ([127u8, 1, 0, 255], [0.5f32, 2.0].map(f32::to_le_bytes).concat(), 0x3c00u16.to_le_bytes());
        let views = HashMap::from([
            ("w", TensorView::new(Dtype::I8, vec![2, 2], &int8).unwrap()),
            ("w.scale", TensorView::new(Dtype::F32, vec![2], &scale).unwrap()),
            ("h", TensorView::new(Dtype::F16, vec![1], &half).unwrap()),
        ]);
        safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    }

    #[test]
    fn rows_are_scaled_and_what_does_not_fit_is_named() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let tensors = Tensors::open(&Folder::Disk(folder.path().to_owned())).unwrap();
        assert_eq!(tensors.get("w", &[2, 2]).unwrap(), [63.5, 0.5, 0.0, -2.0]);
        assert_eq!(tensors.get("h", &[1]).unwrap(), [1.0]);
        assert!(matches!(tensors.get("w", &[4]), Err(Error::Mismatch { .. })));
        assert!(matches!(tensors.get("v", &[1]), Err(Error::Missing(name)) if name == "v"));
    }
}
