//! Reads the UCI digits from `data/digits.bin`; `data/README.md` has their origin, licence and layout.

/// The images and the digit that each shows, in the order of the file.
pub struct Digits {
    /// `[n, 8, 8]` in row-major order, each pixel from 0 (paper) to 16 (ink).
    pub pixels: Vec<u8>,
    /// `[n]`, each from 0 to 9.
    pub labels: Vec<u8>,
}

/// The 1,797 digits of the repository, which are compiled into the program.
pub fn load() -> Result<Digits, String> {
    parse(include_bytes!("../../data/digits.bin"))
}

/// Reads the layout that `data/README.md` describes.
pub fn parse(bytes: &[u8]) -> Result<Digits, String> {
    let short = || "the file of digits ends too soon".to_string();
    let (header, rest) = bytes.split_first_chunk::<16>().ok_or_else(short)?;
    let [magic @ .., n0, n1, n2, n3, height, width, most, classes] = *header;
    if magic != *b"digits1\n" || [height, width, most, classes] != [8, 8, 16, 10] {
        return Err("this is no file of digits".to_string());
    }
    let n = u32::from_le_bytes([n0, n1, n2, n3]) as usize;
    let (labels, rest) = rest.split_at_checked(n).ok_or_else(short)?;
    let (masks, values) = rest.split_at_checked(8 * n).ok_or_else(short)?;

    let mut values = values.iter().flat_map(|byte| [byte & 15, byte >> 4]);
    let mut pixels = Vec::with_capacity(64 * n);
    for mask in masks.as_chunks::<8>().0 {
        let mask = u64::from_le_bytes(*mask);
        for pixel in 0..64 {
            pixels.push(match mask >> pixel & 1 {
                0 => 0,
                _ => 1 + values.next().ok_or_else(short)?,
            });
        }
    }
    Ok(Digits {
        pixels,
        labels: labels.to_vec(),
    })
}
