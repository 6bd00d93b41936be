//! Files: what is written is what is read, and what is no good file is an error.

use quaxide::prelude::*;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A directory that goes away with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("quaxide-io-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    fn names(&self) -> Vec<String> {
        let all = fs::read_dir(&self.0).unwrap();
        all.map(|f| f.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    }
}
impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn same(x: &Array, y: &Array) {
    assert_eq!(x.aval().unwrap(), y.aval().unwrap());
    let parts = |x: &Array| {
        [
            x.real().to_f64_vec().unwrap(),
            x.imag().to_f64_vec().unwrap(),
        ]
    };
    assert_eq!(format!("{:?}", parts(x)), format!("{:?}", parts(y)));
}

/// One array of each element type.
fn every_type() -> Vec<Array> {
    let numbers = Array::from([[0f64, 1.0, -2.5], [1e5, f64::NAN, f64::INFINITY]]);
    let few = Array::from([0f64, 1.0, 100.0]);
    DType::ALL
        .iter()
        .map(|d| match d {
            DType::F16 | DType::BF16 | DType::F32 | DType::F64 | DType::C64 | DType::C128 => {
                let x = numbers.astype(*d);
                if d.is_complex() {
                    &x * num_complex::Complex::new(0.5f64, -1.0)
                } else {
                    x
                }
            }
            _ => few.astype(*d),
        })
        .collect()
}

#[test]
fn every_element_type_and_shape_returns() {
    let dir = Directory::new("types");
    let file = dir.file("types.safetensors");
    let mut all = every_type();
    all.push(Array::from([[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]]).t());
    all.push(Array::scalar(7u16));
    all.push(Array::zeros([3, 0, 2], DType::F32));
    all.push(Array::zeros([0, 2], DType::C128));
    io::save_safetensors(&file, &all).unwrap();
    let like: Vec<Array> = all.iter().map(Array::ones_like).collect();
    let back = io::load_safetensors(&file, &like).unwrap();
    for (x, y) in all.iter().zip(&back) {
        same(x, y);
    }
    assert_eq!(dir.names(), ["types.safetensors"]);

    for x in &all {
        match io::npy_to_bytes(x) {
            Ok(bytes) => same(&io::npy_from_bytes(&bytes).unwrap(), x),
            Err(e) => assert!(x.dtype().unwrap() == DType::BF16, "{e}"),
        }
    }
    io::save_npy(dir.file("x.npy"), &all[12]).unwrap();
    same(&io::load_npy(dir.file("x.npy")).unwrap(), &all[12]);
}

#[test]
fn trees_return_by_path() {
    let dir = Directory::new("trees");
    let file = dir.file("model.safetensors");
    let model = nn::Mlp::new(3, 2, 4, 1, &random::key(0));
    io::save_safetensors(&file, &model).unwrap();
    let names: Vec<String> = io::read_safetensors(&file).unwrap().into_keys().collect();
    let paths = [
        ".layers[0].bias",
        ".layers[0].weight",
        ".layers[1].bias",
        ".layers[1].weight",
    ];
    assert_eq!(names, paths);
    let other = nn::Mlp::new(3, 2, 4, 1, &random::key(1));
    let back = io::load_safetensors(&file, &other).unwrap();
    for (x, y) in tree::leaves(&model).iter().zip(tree::leaves(&back)) {
        same(x, &y);
    }
    // An optimiser's state, a map, a single array.
    let adam = optim::adam(0.1);
    let state = adam.init(&model).unwrap();
    io::save_safetensors(&file, &state).unwrap();
    io::load_safetensors(&file, &state).unwrap();
    let map = BTreeMap::from([("a".to_string(), Array::from([1f32]))]);
    io::save_safetensors(&file, &map).unwrap();
    same(&io::load_safetensors(&file, &map).unwrap()["a"], &map["a"]);
    io::save_safetensors(&file, &Array::from([1f32])).unwrap();
    same(
        &io::load_safetensors(&file, &Array::from([2f32])).unwrap(),
        &Array::from([1f32]),
    );
}

#[test]
fn an_adapter_is_a_small_file() {
    let dir = Directory::new("adapter");
    let file = dir.file("adapter.safetensors");
    let base = nn::Mlp::new(8, 8, 64, 2, &random::key(0));
    let wrap = |seed| loraify(&base, LoraConfig::rank(2), &random::key(seed)).unwrap();
    let (trained, fresh) = (wrap(1), wrap(2));
    io::save_safetensors(&file, &adapters(&trained)).unwrap();
    assert!(fs::metadata(&file).unwrap().len() < 5_000);
    let loaded = io::load_safetensors(&file, &adapters(&fresh)).unwrap();
    let whole = loaded.onto(&fresh).unwrap();
    for (x, y) in tree::leaves(&whole).iter().zip(tree::leaves(&trained)) {
        same(x, &y);
    }
}

#[test]
fn what_does_not_fit_is_listed() {
    let dir = Directory::new("fit");
    let file = dir.file("x.safetensors");
    let three = (
        Array::from([1f32]),
        Array::from([1f32, 2.0]),
        Array::from([1i32]),
    );
    io::save_safetensors(&file, &three).unwrap();
    let like = BTreeMap::from([(0, Array::from([1f32])), (1, Array::from([1f32]))]);
    let mut more = like.clone();
    more.insert(7, Array::from([true]));
    let text = io::load_safetensors(&file, &more).unwrap_err().to_string();
    for part in [
        "`[1]` is f32[2], not f32[1]",
        "`[7]` (bool[1]) is not there",
        "`[2]` (i32[1]) has no place",
        "x.safetensors",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let many: Vec<Array> = (0..100).map(|_| Array::from([1f32])).collect();
    let text = io::load_safetensors(&file, &many).unwrap_err().to_string();
    assert!(text.contains("more") && text.len() < 1000, "{text}");
}

#[test]
fn a_failed_write_leaves_nothing() {
    let dir = Directory::new("fail");
    let file = dir.file("x.safetensors");
    let good = Array::from([1f32]);
    io::save_safetensors(&file, &good).unwrap();
    let bad = vec![Array::from([2f32]), Array::new([1], vec![1f32, 2.0])];
    assert!(io::save_safetensors(&file, &bad).is_err());
    let traced = grad(|x: &Array| -> Result<Array> {
        io::save_safetensors(std::env::temp_dir().join("never"), x)?;
        Ok(x.sum(()))
    });
    assert!(traced(&good).unwrap_err().to_string().contains("traced"));
    same(&io::load_safetensors(&file, &good).unwrap(), &good);
    assert_eq!(dir.names(), ["x.safetensors"]);
    assert!(io::save_safetensors(dir.file("no/such/place"), &good).is_err());
    assert!(io::save_safetensors(Path::new("/"), &good).is_err());
    // A directory stands in the way.
    fs::create_dir(dir.file("taken")).unwrap();
    assert!(io::save_safetensors(dir.file("taken"), &good).is_err());
    assert_eq!(dir.names().len(), 2);
    assert!(
        io::load_safetensors(dir.file("missing"), &good)
            .unwrap_err()
            .to_string()
            .contains("missing")
    );
}

#[test]
fn hostile_files_are_errors() {
    let model = nn::Linear::new(3, 2, &random::key(0));
    let good = io::safetensors_to_bytes(&model, &[("format", "quaxide")]).unwrap();
    assert_eq!(io::safetensors_from_bytes(&good).unwrap().len(), 2);
    for n in 0..good.len() {
        assert!(
            io::safetensors_from_bytes(&good[..n]).is_err(),
            "cut at {n}"
        );
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(io::safetensors_from_bytes(&longer).is_err());
    let file = |header: &str, data: &[u8]| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        io::safetensors_from_bytes(&bytes)
    };
    let one = |dtype: &str, shape: &str, end: usize, data: &[u8]| {
        let entry =
            format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#);
        file(&entry, data)
    };
    assert!(one("F32", "[1]", 4, &[0; 4]).is_ok());
    assert!(one("F32", "[2]", 4, &[0; 4]).is_err());
    assert!(
        one(
            "F32",
            "[18446744073709551615,18446744073709551615]",
            4,
            &[0; 4]
        )
        .is_err()
    );
    assert!(one("F32", "[-1]", 4, &[0; 4]).is_err());
    assert!(one("F32", "[1]", 4, &[0; 3]).is_err());
    assert!(one("F32", "[1]", 400, &[0; 4]).is_err());
    assert!(one("BOOL", "[2]", 2, &[0, 2]).is_err());
    assert!(one("X9", "[1]", 4, &[0; 4]).is_err());
    let e = one("F8_E4M3", "[1]", 1, &[0]).unwrap_err().to_string();
    assert!(e.contains("F8_E4M3") && e.contains("`x`"), "{e}");
    assert!(file("{", &[]).is_err());
    assert!(file("[]", &[]).is_err());
    assert!(io::safetensors_from_bytes(&u64::MAX.to_le_bytes()).is_err());
    // Any single wrong byte gives an array or an error, and never a panic.
    for i in 0..good.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut bytes = good.clone();
            bytes[i] ^= flip;
            let _ = io::safetensors_from_bytes(&bytes);
        }
    }

    let good = io::npy_to_bytes(&Array::from([[1f32, 2.0], [3.0, 4.0]])).unwrap();
    for n in 0..good.len() {
        assert!(io::npy_from_bytes(&good[..n]).is_err(), "cut at {n}");
    }
    for i in 0..good.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut bytes = good.clone();
            bytes[i] ^= flip;
            let _ = io::npy_from_bytes(&bytes);
        }
    }
}

/// An npy file with this header.
fn npy(version: u8, header: &str, data: &[u8]) -> Result<Array> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((header.len() as u16).to_le_bytes()),
        _ => bytes.extend((header.len() as u32).to_le_bytes()),
    }
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    io::npy_from_bytes(&bytes)
}

#[test]
fn numpy_s_other_ways_are_read() {
    let x = npy(
        1,
        "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n",
        &[0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6],
    );
    let x = x.unwrap();
    assert_eq!(x.shape(), [2, 3]);
    assert_eq!(x.to_vec::<i16>().unwrap(), [1, 2, 3, 4, 5, 6]);
    let x = npy(
        3,
        "{\"shape\":(),\"fortran_order\":False,\"descr\":\"<f8\"}",
        &1.5f64.to_le_bytes(),
    );
    assert_eq!(x.unwrap().item::<f64>().unwrap(), 1.5);
    let big: Vec<u8> = [1f32, -2.0].iter().flat_map(|x| x.to_be_bytes()).collect();
    let x = npy(
        2,
        "{'descr': '>c8', 'fortran_order': False, 'shape': (1,)}",
        &big,
    )
    .unwrap();
    assert_eq!(x.real().item::<f32>().unwrap(), 1.0);
    assert_eq!(x.imag().item::<f32>().unwrap(), -2.0);
    for header in [
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, x)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807)}",
        "{'descr': '<f4', 'fortran_order': False}",
        "",
    ] {
        assert!(npy(1, header, &[0; 4]).is_err(), "{header}");
    }
    assert!(npy(9, "{}", &[]).is_err());
}
