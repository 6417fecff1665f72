//! Checkpoint folders as people have them: safetensors shards, mapped into memory, in the formats they are published in.

use std::cell::RefCell;
use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::awq;
use super::bytes::Bytes;
use super::stored::{F8_BLOCK, Format, Stored, eight_to_single, half_to_single};
use super::{Error, Folder};

/// How far loading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Tensors that the model took so far.
    pub tensors: usize,
    /// Tensors in the checkpoint.
    pub of: usize,
    /// Bytes of those taken.
    pub bytes: u64,
}

/// The tensors of one checkpoint by name. Nothing is copied unless a format must be rearranged.
pub(crate) struct Checkpoint<'p> {
    shards: Vec<(String, Bytes)>,
    tensors: BTreeMap<String, Place>,
    progress: RefCell<(Progress, &'p mut dyn FnMut(Progress))>,
}

#[derive(Clone)]
struct Place {
    shard: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    range: std::ops::Range<usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl<'p> Checkpoint<'p> {
    /// Maps the shards that `model.safetensors.index.json` names, or the single `model.safetensors`.
    ///
    /// # Errors
    /// [`Error::File`] with the name of a shard that is missing, cut short or no safetensors file; [`Error::Missing`]
    /// when the index promises a tensor that its shard does not hold.
    pub(crate) fn open(folder: &Folder, progress: &'p mut dyn FnMut(Progress)) -> Result<Self, Error> {
        Self::open_shards(folder, "model.safetensors", progress)
    }

    /// Maps the single shard `file`.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub(crate) fn open_file(folder: &Folder, file: &str, progress: &'p mut dyn FnMut(Progress)) -> Result<Self, Error> {
        Self::open_shards(folder, file, progress)
    }

    fn open_shards(folder: &Folder, single: &str, progress: &'p mut dyn FnMut(Progress)) -> Result<Self, Error> {
        const INDEX: &str = "model.safetensors.index.json";
        let index = if folder.has(INDEX) { Some(folder.read_json::<Index>(INDEX)?) } else { None };
        let mut files: Vec<String> = match &index {
            Some(index) => index.weight_map.values().cloned().collect(),
            None => vec![single.to_owned()],
        };
        files.sort_unstable();
        files.dedup();
        let (mut shards, mut tensors) = (Vec::with_capacity(files.len()), BTreeMap::new());
        for (shard, file) in files.into_iter().enumerate() {
            let bytes = folder.map(&file)?;
            let data = places(&file, &bytes)?;
            tensors.extend(
                data.into_iter().map(|(name, dtype, shape, range)| (name, Place { shard, dtype, shape, range })),
            );
            shards.push((file, bytes));
        }
        if let Some((name, file)) =
            index.iter().flat_map(|index| &index.weight_map).find(|(name, _)| !tensors.contains_key(name.as_str()))
        {
            return Err(Error::Missing(format!("{name}, promised in {file},")));
        }
        let start = Progress { tensors: 0, of: tensors.len(), bytes: 0 };
        Ok(Self { shards, tensors, progress: RefCell::new((start, progress)) })
    }

    /// Whether there is a tensor of this name.
    #[must_use]
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensors' names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor's shape, where it is there.
    #[must_use]
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|place| place.shape.as_slice())
    }

    fn take(&self, name: &str) -> Result<(&Place, Bytes), Error> {
        let missing = || Error::Missing(name.to_owned());
        let place = self.tensors.get(name).ok_or_else(missing)?;
        let bytes = self.shards.get(place.shard).and_then(|(_, bytes)| bytes.part(place.range.clone()));
        let bytes = bytes.ok_or_else(missing)?;
        let (progress, tell) = &mut *self.progress.borrow_mut();
        progress.tensors += 1;
        progress.bytes += u64::try_from(bytes.len()).unwrap_or_default();
        tell(*progress);
        Ok((place, bytes))
    }

    fn shaped(&self, name: &str, shape: &[usize]) -> Result<(Dtype, Bytes), Error> {
        let (place, bytes) = self.take(name)?;
        if place.shape != shape {
            return Err(mismatch(name, format!("{shape:?}"), format!("{:?}", place.shape)));
        }
        Ok((place.dtype, bytes))
    }

    /// A tensor of any floating-point type as `f32`.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Mismatch`].
    pub(crate) fn vector(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let (dtype, bytes) = self.shaped(name, shape)?;
        singles(name, dtype, &bytes)
    }

    /// The weight of the linear map `name`, `[rows, columns]`, in whichever format the checkpoint has it:
    /// `name.weight` (with `name.weight_scale_inv` for FP8, `name.weight_scale` for int8), or AutoAWQ's `name.qweight`,
    /// `name.qzeros` and `name.scales`.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Mismatch`].
    pub(crate) fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Stored, Error> {
        let (weight, packed) = (format!("{name}.weight"), format!("{name}.qweight"));
        if !self.has(&weight) && self.has(&packed) {
            return self.awq(name, rows, columns);
        }
        let (dtype, bytes) = self.shaped(&weight, &[rows, columns])?;
        let format = match dtype {
            Dtype::F32 => Format::F32(bytes),
            Dtype::F16 => Format::F16(bytes),
            Dtype::BF16 => Format::Bf16(bytes),
            Dtype::F8_E4M3 => {
                let blocks = [rows.div_ceil(F8_BLOCK), columns.div_ceil(F8_BLOCK)];
                Format::F8 { codes: bytes, scales: self.vector(&format!("{weight}_scale_inv"), &blocks)? }
            }
            Dtype::I8 => Format::I8 { codes: bytes, scales: self.row_scales(&weight, rows)? },
            other => return Err(mismatch(&weight, "F32, F16, BF16, F8_E4M3 or I8".to_owned(), format!("{other:?}"))),
        };
        Ok(Stored { rows, columns, format })
    }

    fn row_scales(&self, weight: &str, rows: usize) -> Result<Vec<f32>, Error> {
        let name = format!("{weight}_scale");
        let flat = self.tensors.get(&name).is_none_or(|place| place.shape.len() == 1);
        if flat { self.vector(&name, &[rows]) } else { self.vector(&name, &[rows, 1]) }
    }

    /// Expert `expert` of a stack `[experts, rows, columns]`, as `transformers` keeps them in memory.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Mismatch`].
    pub(crate) fn stacked(
        &self,
        name: &str,
        (expert, experts): (usize, usize),
        rows: std::ops::Range<usize>,
        (all_rows, columns): (usize, usize),
    ) -> Result<Stored, Error> {
        let (dtype, bytes) = self.shaped(name, &[experts, all_rows, columns])?;
        let part = |size: usize| {
            let (first, end) = (expert * all_rows + rows.start, expert * all_rows + rows.end);
            bytes.part(first * columns * size..end * columns * size).ok_or_else(|| Error::Missing(name.to_owned()))
        };
        let format = match dtype {
            Dtype::F32 => Format::F32(part(4)?),
            Dtype::F16 => Format::F16(part(2)?),
            Dtype::BF16 => Format::Bf16(part(2)?),
            other => return Err(mismatch(name, "F32, F16 or BF16".to_owned(), format!("{other:?}"))),
        };
        Ok(Stored { rows: rows.len(), columns, format })
    }

    fn awq(&self, name: &str, rows: usize, columns: usize) -> Result<Stored, Error> {
        let (weights, zeros, scales) = (format!("{name}.qweight"), format!("{name}.qzeros"), format!("{name}.scales"));
        let groups = columns / super::stored::GROUP;
        let typed = |name: &str, shape: &[usize]| match self.shaped(name, shape)? {
            (Dtype::I32, bytes) => Ok(bytes),
            (other, _) => Err(mismatch(name, "I32".to_owned(), format!("{other:?}"))),
        };
        let codes = typed(&weights, &[columns, rows / awq::PACKED])?;
        let zero_codes = typed(&zeros, &[groups, rows / awq::PACKED])?;
        let scales = self.vector(&scales, &[groups, rows])?;
        let format = awq::unpack(&codes, &zero_codes, &scales, rows, columns).ok_or_else(|| {
            mismatch(name, "rows by eights, columns by groups of 128".to_owned(), format!("[{rows}, {columns}]"))
        })?;
        codes.read_for_the_last_time();
        zero_codes.read_for_the_last_time();
        Ok(Stored { rows, columns, format })
    }
}

type Found = (String, Dtype, Vec<usize>, std::ops::Range<usize>);

/// The tensors of one shard with their byte ranges.
fn places(file: &str, bytes: &[u8]) -> Result<Vec<Found>, Error> {
    let failed = |reason: String| Error::File { file: file.to_owned(), reason };
    let header = bytes.first_chunk::<8>().map(|length| u64::from_le_bytes(*length));
    let header = header.and_then(|length| usize::try_from(length).ok()).and_then(|length| length.checked_add(8));
    let start = header.filter(|end| *end <= bytes.len()).ok_or_else(|| failed("its header is cut short".to_owned()))?;
    match SafeTensors::read_metadata(bytes) {
        Ok((_, metadata)) => Ok(metadata
            .tensors()
            .into_iter()
            .map(|(name, info)| {
                let (first, end) = info.data_offsets;
                (name, info.dtype, info.shape.clone(), start + first..start + end)
            })
            .collect()),
        Err(safetensors::SafeTensorError::MetadataIncompleteBuffer) => Err(failed(cut_short(bytes, start))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Which tensors a shard promises beyond its end.
fn cut_short(bytes: &[u8], start: usize) -> String {
    #[derive(Deserialize)]
    struct Entry {
        data_offsets: (usize, usize),
    }
    let header: BTreeMap<String, serde_json::Value> =
        bytes.get(8..start).and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
    let ends: Vec<(String, usize)> = header
        .into_iter()
        .filter_map(|(name, entry)| Some((name, serde_json::from_value::<Entry>(entry).ok()?.data_offsets.1)))
        .collect();
    let whole = start + ends.iter().map(|(_, end)| *end).max().unwrap_or_default();
    let mut missing: Vec<&str> =
        ends.iter().filter(|(_, end)| start + end > bytes.len()).map(|(name, _)| name.as_str()).collect();
    missing.sort_unstable();
    let named = missing.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    let more = missing.len().saturating_sub(3);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{} bytes where its header asks for {whole}; missing: {named}{more}", bytes.len())
}

fn mismatch(name: &str, expected: String, found: String) -> Error {
    Error::Mismatch { name: name.to_owned(), expected, found }
}

/// Numbers of a floating-point type as `f32`.
fn singles(name: &str, dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>, Error> {
    let halves = || bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b));
    Ok(match dtype {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F16 => halves().map(half_to_single).collect(),
        Dtype::BF16 => halves().map(|half| f32::from_bits(u32::from(half) << 16)).collect(),
        Dtype::F8_E4M3 => bytes.iter().map(|code| eight_to_single(*code)).collect(),
        other => return Err(mismatch(name, "F32, F16 or BF16".to_owned(), format!("{other:?}"))),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use safetensors::tensor::TensorView;

    use super::*;

    fn write(folder: &Path) {
        let (int8, scale) = ([127u8, 1, 0, 255], [0.5f32, 2.0].map(f32::to_le_bytes).concat());
        let views = [
            ("w.weight", TensorView::new(Dtype::I8, vec![2, 2], &int8).unwrap()),
            ("w.weight_scale", TensorView::new(Dtype::F32, vec![2], &scale).unwrap()),
        ];
        safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    }

    fn open(folder: &Path) -> Result<Vec<f32>, Error> {
        let mut told = 0;
        let mut tell = |progress: Progress| told = progress.tensors;
        let checkpoint = Checkpoint::open(&Folder::Disk(folder.to_owned()), &mut tell)?;
        let matrix = checkpoint.matrix("w", 2, 2)?;
        assert!(matches!(checkpoint.matrix("w", 4, 1), Err(Error::Mismatch { .. })));
        assert!(matches!(checkpoint.matrix("v", 4, 1), Err(Error::Missing(name)) if name == "v.weight"));
        drop(checkpoint);
        assert_eq!(told, 3);
        let mut row = [0.0; 2];
        matrix.row(1, &mut row);
        Ok(row.to_vec())
    }

    #[test]
    fn a_shard_is_read_where_it_lies_and_a_cut_one_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        assert_eq!(open(folder.path()).unwrap(), [0.0, -2.0]);

        let file = folder.path().join("model.safetensors");
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() - 3]).unwrap();
        let error = open(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("model.safetensors: ") && error.contains("missing: w.weight"), "{error}");
        std::fs::write(&file, &whole[..20]).unwrap();
        let error = open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("model.safetensors: its header is cut short"), "{error}");
        std::fs::write(&file, b"{\"a\": 1, \"no\": \"safetensors\"}").unwrap();
        assert!(open(folder.path()).unwrap_err().to_string().starts_with("model.safetensors: "));
    }

    #[test]
    fn an_index_is_held_to_what_it_promises() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let index = |map: &str| {
            let text = format!("{{\"weight_map\": {{{map}}}}}");
            std::fs::write(folder.path().join("model.safetensors.index.json"), text).unwrap();
            open(folder.path()).unwrap_err().to_string()
        };
        let error = index("\"w.weight\": \"model.safetensors\", \"x.weight\": \"model.safetensors\"");
        assert!(error.contains("x.weight, promised in model.safetensors,"), "{error}");
        let error = index("\"w.weight\": \"model-00001-of-00002.safetensors\"");
        assert!(error.starts_with("model-00001-of-00002.safetensors: "), "{error}");
    }
}
