//! Golden values: reads `tests/golden/*.safetensors` and compares with them. What a file holds is told by the README there.

use std::{collections::BTreeSet, fs, path::PathBuf};

use quaxide::prelude::*;
use safetensors::{Dtype, SafeTensors};

/// How far a number may be from the golden one: `absolute + relative · |golden|`.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    pub relative: f64,
    pub absolute: f64,
}

/// For one pass in `f32`.
pub const F32: Tolerance = Tolerance {
    relative: 1e-5,
    absolute: 1e-6,
};
/// For one pass in `f64`.
pub const F64: Tolerance = Tolerance {
    relative: 1e-12,
    absolute: 1e-14,
};
/// For many steps in `f32`, whose roundings add up.
pub const STEPS: Tolerance = Tolerance {
    relative: 1e-4,
    absolute: 1e-5,
};
/// Every bit, but that a NaN is a NaN.
pub const EXACT: Tolerance = Tolerance {
    relative: 0.0,
    absolute: 0.0,
};

/// One file of golden values.
pub struct Golden {
    file: String,
    bytes: Vec<u8>,
}

impl Golden {
    /// The file `tests/golden/NAME.safetensors`.
    #[track_caller]
    pub fn open(name: &str) -> Golden {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(format!("{name}.safetensors"));
        match fs::read(&path) {
            Ok(bytes) => Golden {
                file: name.to_string(),
                bytes,
            },
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }

    #[track_caller]
    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap_or_else(|e| panic!("{}: {e}", self.file))
    }

    /// Every key of the file.
    pub fn keys(&self) -> BTreeSet<String> {
        let tensors = self.tensors();
        tensors.names().into_iter().map(str::to_string).collect()
    }

    /// Whether there is such a key.
    pub fn has(&self, key: &str) -> bool {
        self.tensors().tensor(key).is_ok()
    }

    /// The array under a key.
    #[track_caller]
    pub fn get(&self, key: &str) -> Array {
        let tensors = self.tensors();
        let Ok(tensor) = tensors.tensor(key) else {
            let start = key.split('/').next().unwrap_or(key);
            let near: Vec<String> = self
                .keys()
                .into_iter()
                .filter(|k| k.starts_with(start))
                .collect();
            panic!(
                "{}: there is no `{key}`; the nearest keys are {near:?}",
                self.file
            );
        };
        let (shape, bytes) = (tensor.shape(), tensor.data());
        macro_rules! array {
            ($T:ty) => {{
                let (words, _) = bytes.as_chunks::<{ size_of::<$T>() }>();
                Array::new(
                    shape,
                    words
                        .iter()
                        .map(|w| <$T>::from_le_bytes(*w))
                        .collect::<Vec<_>>(),
                )
            }};
        }
        match tensor.dtype() {
            Dtype::F32 => array!(f32),
            Dtype::F64 => array!(f64),
            Dtype::F16 => array!(half::f16),
            Dtype::BF16 => array!(half::bf16),
            Dtype::I8 => array!(i8),
            Dtype::I16 => array!(i16),
            Dtype::I32 => array!(i32),
            Dtype::I64 => array!(i64),
            Dtype::U8 => array!(u8),
            Dtype::U16 => array!(u16),
            Dtype::U32 => array!(u32),
            Dtype::U64 => array!(u64),
            Dtype::BOOL => Array::new(shape, bytes.iter().map(|b| *b != 0).collect::<Vec<_>>()),
            other => panic!("{}: `{key}` is {other:?}, which no test reads", self.file),
        }
    }

    /// A tree like `like` whose leaves come from the file, each under `prefix` and its path:
    /// `fill("mlp/param", &mlp)` reads `mlp/param.layers[0].weight` and so on. Shapes and dtypes must be those of `like`.
    #[track_caller]
    pub fn fill<T: PyTree>(&self, prefix: &str, like: &T) -> T {
        let mut leaves = Vec::new();
        for (path, old) in tree::leaves_with_paths(like) {
            let key = format!("{prefix}{path}");
            let new = self.get(&key);
            self.same_type(&key, &old, &new);
            leaves.push(new);
        }
        tree::unflatten(like, leaves).unwrap_or_else(|e| panic!("{}: `{prefix}`: {e}", self.file))
    }

    /// Asserts that `found` is the array under `key`: the same dtype and shape, and each number within the tolerance.
    #[track_caller]
    pub fn check(&self, key: &str, found: &Array, tolerance: Tolerance) {
        let golden = self.get(key);
        self.same_type(key, found, &golden);
        let numbers = |x: &Array| {
            x.to_f64_vec()
                .unwrap_or_else(|e| panic!("{}: `{key}` has no numbers: {e}", self.file))
        };
        let (found, expected) = (numbers(found), numbers(&golden));
        let excess = |f: f64, g: f64| match f == g || (f.is_nan() && g.is_nan()) {
            true => 0.0,
            // Not below zero even where one of the two is infinite or no number.
            false => {
                let most = tolerance.absolute + tolerance.relative * g.abs();
                if (f - g).abs() <= most {
                    0.0
                } else {
                    ((f - g) / most).abs()
                }
            }
        };
        let wrong: Vec<usize> = (0..found.len())
            .filter(|&i| excess(found[i], expected[i]) != 0.0)
            .collect();
        let worst = wrong.iter().copied().max_by(|&i, &j| {
            excess(found[i], expected[i]).total_cmp(&excess(found[j], expected[j]))
        });
        if let Some(i) = worst {
            panic!(
                "{}: `{key}` differs in {} of {} elements; worst at {:?}: found {:e}, golden {:e}, off by {:e} with {tolerance:?}",
                self.file,
                wrong.len(),
                found.len(),
                index(i, &golden.shape()),
                found[i],
                expected[i],
                (found[i] - expected[i]).abs(),
            );
        }
    }

    /// Asserts the same of every leaf of a tree, under `prefix` and its path, and that the file has no further leaf there.
    #[track_caller]
    pub fn check_tree<T: PyTree>(&self, prefix: &str, found: &T, tolerance: Tolerance) {
        let mut seen = BTreeSet::new();
        for (path, leaf) in tree::leaves_with_paths(found) {
            let key = format!("{prefix}{path}");
            self.check(&key, &leaf, tolerance);
            seen.insert(key);
        }
        let inside = |key: &String| {
            let rest = key.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let missing: Vec<String> = self
            .keys()
            .into_iter()
            .filter(|k| inside(k) && !seen.contains(k))
            .collect();
        assert!(
            missing.is_empty(),
            "{}: the tree lacks {missing:?}",
            self.file
        );
    }

    #[track_caller]
    fn same_type(&self, key: &str, found: &Array, golden: &Array) {
        let describe = |x: &Array| match x.aval() {
            Ok(aval) => (aval.dtype, aval.shape.to_vec()),
            Err(e) => panic!("{}: `{key}` is an error: {e}", self.file),
        };
        let (found, golden) = (describe(found), describe(golden));
        assert!(
            found == golden,
            "{}: `{key}` is {:?}{:?}, but golden is {:?}{:?}",
            self.file,
            found.0,
            found.1,
            golden.0,
            golden.1,
        );
    }
}

/// The index of the i-th element in row-major order.
fn index(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|n| {
            let here = i % n;
            i /= n;
            here
        })
        .collect();
    index.reverse();
    index
}
