//! The packed digits are the ones that scikit-learn gives.

#[path = "../examples/support/digits.rs"]
mod digits;

#[test]
fn the_digits_are_complete() {
    let digits = digits::load().unwrap();
    assert_eq!(digits.labels.len(), 1797);
    assert_eq!(digits.pixels.len(), 1797 * 64);
    assert_eq!(digits.labels[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    #[rustfmt::skip]
    assert_eq!(digits.pixels[..64], [
        0, 0,  5, 13,  9,  1,  0, 0,
        0, 0, 13, 15, 10, 15,  5, 0,
        0, 3, 15,  2,  0, 11,  8, 0,
        0, 4, 12,  0,  0,  8,  8, 0,
        0, 5,  8,  0,  0,  9,  8, 0,
        0, 4, 11,  0,  1, 12,  7, 0,
        0, 2, 14,  5, 10, 12,  0, 0,
        0, 0,  6, 13, 10,  0,  0, 0,
    ]);
    let mut counts = [0; 10];
    for &label in &digits.labels {
        counts[usize::from(label)] += 1;
    }
    assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    // Each pixel weighted by its place, so that a shift or a swap would show.
    let sum: u64 = digits
        .pixels
        .iter()
        .enumerate()
        .map(|(i, &pixel)| (i as u64 % 64) * u64::from(pixel))
        .sum();
    assert_eq!(sum, 17_660_653);
}

#[test]
fn a_damaged_file_is_an_error() {
    let bytes = include_bytes!("../data/digits.bin");
    for length in [0, 15, 16, 1000, 5000, bytes.len() - 1] {
        assert!(digits::parse(&bytes[..length]).is_err(), "{length} bytes");
    }
    let mut other = bytes.to_vec();
    other[0] = b'D';
    assert!(digits::parse(&other).is_err());
}
